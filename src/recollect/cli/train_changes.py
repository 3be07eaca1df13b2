"""What differs between a training and the one in its folder, by the options that were typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from recollect.errors import UserError
from recollect.language.claim import Change, OtherTraining

OPTIONS = {
    r"task\.text": "--text",
    r"task\.tokenizer": "--tokenizer",
    r"task\.seq_len": "--context",
    r"train\.steps": "steps, from --tokens,",
    r"train\.batch_size": "--batch",
    r"train\.learning_rate": "--learning-rate",
    r"train\.eval_every": "--eval-every",
    r"train\.dtype": "dtype, from --device,",
    r"model\.d_model": "--width",
    r"model\.n_layers": "--layers",
    r"model\.mixer\.\d+\.mixer": "--mixer",
    r"model\.mixer\.\d+\.options\.n_heads": "--heads",
    r"seeds\.\w+": "--seed",
}
"""By patterns of the dotted names of settings; other settings are those of `--set`."""
CONTENTS = {
    "task.text_digest": "another content of --text",
    "task.tokenizer_digest": "other tokens of --tokenizer",
}
"""What to say where a digest differs."""
MIXER = re.compile(r"^model\.mixer\.\d+\.mixer$")


@contextmanager
def changes_as_typed() -> Iterator[None]:
    """The message about another training in the folder names options."""
    try:
        yield
    except OtherTraining as error:
        told = dict.fromkeys(change_text(*change) for change in _own(error.changes))
        if not told:
            raise
        raise UserError(
            f"{error.folder} holds a training with {', '.join(told)}: give the same settings to go"
            " on with it, or another --out"
        ) from error


def _own(changes: Sequence[Change]) -> Iterator[Change]:
    """Without the options of a layer's mixer where the mixer is another one."""
    others = [name.removesuffix("mixer") + "options." for name, *_ in changes if MIXER.search(name)]
    return (change for change in changes if not change[0].startswith(tuple(others)))


def change_text(name: str, held: Any, asked: Any) -> str:
    """A setting with both values: `--context 512 in place of 256`.

    Args:
        name: of the setting, dotted.
        held: its value in the folder.
        asked: the value that was typed.
    """
    if name == "task.end_of_text":
        return f"{_switch(held)} in place of {_switch(asked)}"
    if name in CONTENTS:
        return CONTENTS[name]
    for pattern, option in OPTIONS.items():
        if re.fullmatch(pattern, name):
            return f"{option} {held} in place of {asked}"
    return f"{name}={held} in place of {asked}"


def _switch(end_of_text: bool | None) -> str:
    return "--end-of-text" if end_of_text else "--no-end-of-text"
