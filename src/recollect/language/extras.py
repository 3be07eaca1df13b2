"""Packages that only some uses need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from recollect.errors import UserError


def optional(package: str, extra: str = "language") -> Any:
    """A package of an extra, imported.

    Raises:
        UserError: if it is not installed; it names the extra.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        root = package.partition(".")[0]
        if error.name != root:
            raise  # it is there, and lacks something itself
        raise UserError(f"this needs {root}: pip install 'recollect[{extra}]'") from None
