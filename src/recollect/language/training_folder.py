"""The folder of a training: a store, in which the training is the only trial of a study, and in the
end the model (`model_folder`)."""

from __future__ import annotations

from pathlib import Path

from recollect.errors import UserError
from recollect.language.model_folder import CONFIG_FILE, WEIGHTS_FILE, is_model_folder
from recollect.language.tokenizer import TOKENIZER_FILE
from recollect.studies.store import Store
from recollect.studies.stored_trial import StoredTrial

STORE_FILE, STUDY = "results.db", "train-lm"
OLDER_FILE = "trial.json"
"""In the folders of earlier versions, which have no store."""
THEIR_CONFIG_FILE = "config.json"
"""Of a model of `transformers`."""
FOREIGN = (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, THEIR_CONFIG_FILE)
"""What a training would write over, or mix with its own."""


def check_finished(folder: Path) -> None:
    """See that a folder holds no training without an end.

    Raises:
        UserError: if it does.
    """
    if is_model_folder(folder) or (folder / THEIR_CONFIG_FILE).exists():
        return
    if (folder / OLDER_FILE).exists():
        raise _older(folder)
    if not (folder / STORE_FILE).exists():
        return
    with Store(folder / STORE_FILE) as store:
        cells = store.listed(STUDY)
        for trial in (trial for cell in cells for trial in store.trials(cell).values()):
            if trial.status == "diverged":
                raise UserError(f"the training in {folder} diverged: {diverged_text(trial)}")
    if cells:
        raise UserError(
            f"the training in {folder} is not finished: give its train-lm command again"
        )


def diverged_text(trial: StoredTrial) -> str:
    """What to say of a trial that has diverged."""
    return f"the loss became NaN or inf at step {trial.step}; choose a smaller rate"


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder without a training in a store that has a model nevertheless, or a training of
    an earlier version.

    Raises:
        UserError: where it has.
    """
    if (folder / OLDER_FILE).exists():
        raise _older(folder)
    found = [name for name in FOREIGN if (folder / name).exists()]
    if found:
        raise UserError(
            f"{folder} holds {found[0]} and no training in a {STORE_FILE}, so it was not begun by a"
            " training: take another folder"
        )


def _older(folder: Path) -> UserError:
    """What to say of a folder of an earlier version."""
    if is_model_folder(folder):
        return UserError(
            f"the training in {folder} is finished: an earlier version has done it; `recollect"
            " sample`, `slice` and `probe` read the model; to train another take another folder"
        )
    return UserError(
        f"{folder} holds a training that an earlier version has begun and not finished, and this"
        " one cannot go on with: remove the folder, or take another, and train anew"
    )
