"""Selectors: claims name cells by settings, each in a space that keeps its name unambiguous.

A selector maps keys to values: `{"mixer.name": "mamba", "mixer.d_conv": 0, "model.n_layers": 1}`.

- `study`: the name of the study;
- `mixer.`: `name`, and the options of a model with one kind of mixer;
- `model.`, `task.`, `train.`: the fields of these configs, and `task.label`;
- `size.width_over_length`: `d_model` divided by the task's sequence length.

A value is a setting; a tuple of alternatives; a `Limit`; or `LEAST` or `MOST`, the smallest or
largest value among cells that match the other keys.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from recollect.errors import UserError, unknown
from recollect.mixers.catalogue import MIXERS
from recollect.mixers.constructor import mixer_options
from recollect.models.config import ModelConfig
from recollect.studies.cell import Cell
from recollect.tasks.task import TASKS
from recollect.training.config import TrainConfig

Where = Mapping[str, Any]
"""A selector."""

STUDY, MIXER, TASK = "study", "mixer.name", "task.label"
D_MODEL, N_LAYERS, SEQ_LEN = "model.d_model", "model.n_layers", "task.seq_len"
RELATIVE_WIDTH = "size.width_over_length"

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Limit:
    """Any value on one side of a number: `Limit("<", 0.5)`."""

    sign: str
    value: float

    def admits(self, value: Any) -> bool:
        """Return True if a setting is on that side."""
        return OPERATORS[self.sign](value, self.value)

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"


class Extreme(Enum):
    """The smallest or largest value of a setting."""

    LEAST = "the smallest"
    MOST = "the largest"


LEAST, MOST = Extreme.LEAST, Extreme.MOST


def settings(cell: Cell, study: str) -> dict[str, Any]:
    """The settings of a cell by which claims may select."""
    model, task, train = (dict(cell.template[space]) for space in ("model", "task", "train"))
    layers = model["mixer"]
    name, options = cell.mixer, {}
    if len(layers) == 1:
        name, options = layers[0]["mixer"], dict(layers[0]["options"])
    spaces: dict[str, dict[str, Any]] = {
        "mixer": {**options, "name": name},
        "model": model,
        "task": {**task, "label": cell.task},
        "train": train,
    }
    found = {
        f"{space}.{key}": value for space, keys in spaces.items() for key, value in keys.items()
    }
    if SEQ_LEN in found:
        found[RELATIVE_WIDTH] = cell.d_model / found[SEQ_LEN]
    return {STUDY: study, **found}


def check(where: Where) -> None:
    """Check that the keys of a selector exist.

    Raises:
        UserError: for an unknown space, or an unknown key of a space.
    """
    for key in where:
        if key in _known():
            continue
        space, _, name = key.partition(".")
        names = [each.partition(".")[2] for each in _known() if each.startswith(f"{space}.")]
        if not names:
            raise UserError(
                f"unknown space {space!r} in the selector {key!r}: expected study, or a key of"
                " mixer., model., task., train. or size."
            )
        raise unknown(f"key of {space}.", name, names)
    named = where.get(MIXER)
    if isinstance(named, str) and named in MIXERS:
        options = mixer_options(MIXERS[named].cls)
        for key in where:
            option = key.removeprefix("mixer.")
            if key not in (option, MIXER) and option not in options:
                raise unknown(f"option of {named}", option, options)


def fits(found: Mapping[str, Any], where: Where) -> bool:
    """Return True if settings match a selector, ignoring `LEAST` and `MOST`."""
    return all(
        isinstance(value, Extreme) or (key in found and _is_meant(found[key], value))
        for key, value in where.items()
    )


def extremes(where: Where) -> Iterable[tuple[str, Extreme]]:
    """The keys of a selector with `LEAST` or `MOST`."""
    return ((key, value) for key, value in where.items() if isinstance(value, Extreme))


def in_words(where: Where) -> str:
    """A selector in words: `mamba (mixer.d_conv=0, the smallest model.d_model)`."""
    name = _any_of(where[MIXER]) if MIXER in where else "model"
    rest = ", ".join(_setting(key, value) for key, value in where.items() if key != MIXER)
    return f"{name} ({rest})" if rest else name


def plain(where: Where) -> dict[str, Any]:
    """A selector as plain values, for JSON."""
    return {
        key: str(value)
        if isinstance(value, Limit)
        else value.value
        if isinstance(value, Extreme)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in where.items()
    }


def _is_meant(found: Any, value: Any) -> bool:
    if isinstance(value, Limit):
        return value.admits(found)
    return found in value if isinstance(value, tuple) else bool(found == value)


def _setting(key: str, value: Any) -> str:
    if isinstance(value, Extreme):
        return f"{value.value} {key}"
    return f"{key} {value}" if isinstance(value, Limit) else f"{key}={_any_of(value)}"


def _any_of(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@cache
def _known() -> frozenset[str]:
    """All keys that a cell can have."""
    options = {option for name in MIXERS for option in mixer_options(MIXERS[name].cls)}
    tasks = {field for name in TASKS for field in TASKS[name].model_fields}
    spaces = {
        "mixer": options | {"name"},
        "model": set(ModelConfig.model_fields),
        "task": tasks | {"label"},
        "train": set(TrainConfig.model_fields) - {"learning_rate"},
    }
    keys = {f"{space}.{key}" for space, keys in spaces.items() for key in keys}
    return frozenset({STUDY, RELATIVE_WIDTH, *keys})
