"""Which optimiser a config asks for: one of ours by its name, or what a user's function makes."""

from __future__ import annotations

import re
from types import FunctionType
from typing import Annotated, Any

from pydantic import BeforeValidator

from recollect.errors import UserError, unknown
from recollect.identity import class_name, import_function, reference, resolve, source_digest

OPTIMIZERS = ("adamw", "sgd", "lion", "muon", "schedule-free")
_STORED = re.compile(r"(.*)#([0-9a-f]{16})")


def is_own(optimizer: str) -> bool:
    """Whether a user's function makes it."""
    return ":" in optimizer


def stored_name(optimizer: str) -> str:
    """As a config is stored: a function by its name and the digest of its source."""
    if not is_own(optimizer):
        return optimizer
    function = import_function(optimizer)
    return f"{class_name(function)}#{source_digest(function)}"


def optimizer_label(optimizer: str) -> str:
    """A short name for tables: that of a function without its module."""
    return _parts(optimizer)[0].rpartition(":")[2]


def source_of(optimizer: str) -> tuple[str, str] | None:
    """Name and digest of the function in a stored config; None for one of ours."""
    name, digest = _parts(optimizer)
    return None if digest is None else (name, digest)


def _parts(optimizer: str) -> tuple[str, str | None]:
    stored = _STORED.fullmatch(optimizer)
    return (stored[1], stored[2]) if stored else (optimizer, None)


def _as_name(value: Any) -> str:
    """A name of ours, or the reference of a user's function.

    Raises:
        UserError: for anything else, and where a stored function is another one today.
    """
    if isinstance(value, FunctionType):
        return reference(value)
    if not isinstance(value, str):
        raise UserError(f"{value!r}: expected one of {', '.join(OPTIMIZERS)}, or a function")
    if not is_own(value):
        if value not in OPTIMIZERS:
            choices = [*OPTIMIZERS, "file.py:function"]
            raise unknown("optimizer", value, choices)
        return value
    name, digest = _parts(value)
    found = resolve(name, digest)
    function = import_function(found)
    if digest is not None and source_digest(function) != digest:
        raise UserError(f"the optimizer {name!r} has changed since this was stored")
    return found


OptimizerName = Annotated[str, BeforeValidator(_as_name)]
