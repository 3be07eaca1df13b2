"""Ownership of a training's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recollect.errors import UserError
from recollect.files import make_folder, replacing
from recollect.language.model_folder import CONFIG_FILE, WEIGHTS_FILE, is_model_folder
from recollect.language.tokenizer import TOKENIZER_FILE
from recollect.plain import leaves
from recollect.training.config import TrialConfig

TRIAL_FILE, LOG_FILE, CHECKPOINT_FILE = "trial.json", "log.jsonl", "checkpoint.safetensors"
DIVERGED_FILE = "diverged.txt"
"""Says when a training diverged."""
FOREIGN = (
    *(CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, LOG_FILE, CHECKPOINT_FILE),
    "config.json",
)
"""What a training would write over, and what tells a model of `transformers`."""

INTERNAL = re.compile(
    r"(|task\.|model\.mixer\.\d+\.)(numerics|source|class)|model\.mixer\.\d+\.foreign|task\.end"
)
"""What differs with the code, or with other settings; nobody sets it."""
CONTENTS = {
    "task.text_digest": "another content of the text",
    "task.tokenizer_digest": "other tokens",
}
"""What to say where a digest differs."""

Change = tuple[str, Any, Any]
"""The dotted name of a setting, and two values of it."""


class OtherTraining(UserError):
    """A folder holds another training.

    Args:
        folder: which.
        changes: the settings that differ, as `(name, held, asked)`; none where only the version of
            the trainer, the mixer or the text does.
    """

    def __init__(self, folder: Path, changes: Sequence[Change]) -> None:
        told = ", ".join(
            CONTENTS.get(name, f"{name}={held!r} in place of {asked!r}")
            for name, held, asked in changes
        )
        super().__init__(
            f"{folder} holds a training with {told or 'another version of the trainer or a mixer'}:"
            " give the same settings to go on with it, or take another folder"
        )
        self.folder, self.changes = folder, tuple(changes)

    def __reduce__(self) -> tuple[type[OtherTraining], tuple[Path, tuple[Change, ...]]]:
        return OtherTraining, (self.folder, self.changes)  # it may cross processes


def check_claim(config: TrialConfig, folder: Path) -> None:
    """See that a trial may use a folder; writes nothing.

    Raises:
        OtherTraining: if it is another trial's.
        UserError: if it holds a model that came from elsewhere.
    """
    path = folder / TRIAL_FILE
    if not path.exists():
        _refuse_foreign(folder)
        return
    key, theirs = _read(path)
    if key != config.key:
        raise OtherTraining(folder, [*_changes(theirs, config.model_dump(mode="json"))])


def check_finished(folder: Path) -> None:
    """See that a folder holds no training without an end.

    Raises:
        UserError: if it does.
    """
    if is_model_folder(folder) or not (folder / TRIAL_FILE).exists():
        return
    diverged = folder / DIVERGED_FILE
    if diverged.exists():
        raise UserError(
            f"the training in {folder} diverged: {diverged.read_text(encoding='utf-8')}"
        )
    raise UserError(f"the training in {folder} is not finished: give its train-lm command again")


def claim(config: TrialConfig, folder: Path) -> None:
    """Note the trial whose folder it is, with its key.

    Raises:
        UserError: as `check_claim`, or where the folder cannot be written.
    """
    check_claim(config, folder)
    make_folder(folder)
    path = folder / TRIAL_FILE
    if not path.exists():
        told = {"key": config.key, "trial": config.model_dump(mode="json")}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _refuse_foreign(folder: Path) -> None:
    found = [name for name in FOREIGN if (folder / name).exists()]
    if found:
        raise UserError(
            f"{folder} holds {found[0]} and no {TRIAL_FILE}, so it was not begun by a training:"
            " take another folder"
        )


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """The key and the config of a trial."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return told["key"], told["trial"]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged, or of another version: take another folder") from error


def _changes(theirs: dict[str, Any], mine: dict[str, Any]) -> Iterator[Change]:
    """The settings that are not the same, each with both values; not those that nobody sets."""
    held, asked = dict(leaves(theirs)), dict(leaves(mine))
    for name in held | asked:
        if held.get(name) != asked.get(name) and not INTERNAL.fullmatch(name):
            yield name, held.get(name), asked.get(name)
