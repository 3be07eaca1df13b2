"""The optimiser in a config: one of ours by name, or a user's function."""

from __future__ import annotations

from types import FunctionType
from typing import Annotated, Any

from pydantic import BeforeValidator

from recollect.errors import UserError, unknown
from recollect.own_functions import function_reference, is_own, name_and_digest

OPTIMIZERS = ("adamw", "sgd", "lion", "muon", "schedule-free")


def optimizer_label(optimizer: str) -> str:
    """Short name of an optimiser for tables: a function's name without its module."""
    return name_and_digest(optimizer)[0].rpartition(":")[2]


def as_optimizer(value: Any) -> str:
    """Name of one of our optimisers, or reference of a user's function.

    Raises:
        UserError: for anything else, or if a stored function has been edited since.
    """
    if not isinstance(value, str | FunctionType):
        raise UserError(f"{value!r}: expected one of {', '.join(OPTIMIZERS)}, or a function")
    if isinstance(value, str) and not is_own(value):
        if value not in OPTIMIZERS:
            raise unknown("optimizer", value, [*OPTIMIZERS, "file.py:function"])
        return value
    return function_reference(value, "optimizer")


OptimizerName = Annotated[str, BeforeValidator(as_optimizer)]
