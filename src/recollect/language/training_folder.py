"""The folder of a training: a store with the training as its only trial, and finally the model."""

from __future__ import annotations

from pathlib import Path

from recollect.errors import UserError
from recollect.language.model_folder import CONFIG_FILE, WEIGHTS_FILE, is_model_folder
from recollect.language.tokenizer import TOKENIZER_FILE
from recollect.studies.store import Store
from recollect.studies.stored_trial import StoredTrial

STORE_FILE, STUDY = "results.db", "train-lm"
OLDER_FILE = "trial.json"
"""File in folders of earlier versions, which have no store."""
THEIR_CONFIG_FILE = "config.json"
"""Configuration file of a model of `transformers`."""
FOREIGN = (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, THEIR_CONFIG_FILE)
"""Files that a training would overwrite or mix with its own."""


def check_finished(folder: Path) -> None:
    """Check that a folder holds no unfinished training.

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
        raise UserError(f"the training in {folder} is not finished: run its train-lm command again")


def diverged_text(trial: StoredTrial) -> str:
    """Text for a diverged trial."""
    return f"the loss became NaN or inf at step {trial.step}; choose a smaller rate"


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder with a model but without a store, or with a training of an earlier version.

    Raises:
        UserError: for such a folder.
    """
    if (folder / OLDER_FILE).exists():
        raise _older(folder)
    found = [name for name in FOREIGN if (folder / name).exists()]
    if found:
        raise UserError(
            f"{folder} holds {found[0]} but no training in {STORE_FILE}, so no training owns it:"
            " use another folder"
        )


def _older(folder: Path) -> UserError:
    """Error for a folder of an earlier version."""
    if is_model_folder(folder):
        return UserError(
            f"the training in {folder} was finished by an earlier version. `recollect sample`,"
            " `slice` and `probe` can read the model; to train another, use another folder"
        )
    return UserError(
        f"{folder} holds an unfinished training of an earlier version, which this version cannot"
        " resume: remove the folder or use another one, and train again"
    )
