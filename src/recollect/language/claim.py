"""Whose folder it is that a training writes to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recollect.errors import UserError
from recollect.files import make_folder, replacing
from recollect.language.model_folder import CONFIG_FILE, WEIGHTS_FILE
from recollect.language.tokenizer import TOKENIZER_FILE
from recollect.training.config import TrialConfig

TRIAL_FILE, LOG_FILE, CHECKPOINT_FILE = "trial.json", "log.jsonl", "checkpoint.safetensors"
FOREIGN = (
    *(CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, LOG_FILE, CHECKPOINT_FILE),
    "config.json",
)
"""What a training would write over, and what tells a model of `transformers`."""


def claim(config: TrialConfig, folder: Path) -> None:
    """Note the trial whose folder it is, with its key.

    Raises:
        UserError: if it is another trial's, or holds a model that came from elsewhere.
    """
    make_folder(folder)
    path, mine = folder / TRIAL_FILE, config.model_dump(mode="json")
    if not path.exists():
        _refuse_foreign(folder)
        with replacing(path) as temporary:
            told = {"key": config.key, "trial": mine}
            temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")
    key, theirs = _read(path)
    if key != config.key:
        changed = ", ".join(_differences(theirs, mine)) or "another version of the trainer"
        raise UserError(
            f"{folder} holds a training with {changed}: give the same settings to go on with it,"
            " or take another folder"
        )


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


def _differences(theirs: dict[str, Any], mine: dict[str, Any]) -> Iterator[str]:
    """The settings that are not the same, each with both values."""
    had, asked = dict(_settings(theirs)), dict(_settings(mine))
    for name in had | asked:
        if had.get(name) != asked.get(name):
            yield f"{name}={had.get(name)!r} in place of {asked.get(name)!r}"


def _settings(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values within a config by their dotted names."""
    if not isinstance(value, dict | list):
        yield name, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _settings(inner, f"{name}.{key}" if name else str(key))
