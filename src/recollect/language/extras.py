"""Import of optional packages."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from recollect.errors import UserError, to_install


def optional(package: str, extra: str = "language") -> Any:
    """Import a package of an extra.

    Raises:
        UserError: if it is not installed; the message names the extra.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        root = package.partition(".")[0]
        if error.name != root:
            raise  # it is installed, but one of its own imports is missing
        raise UserError(f"this needs {root}: {to_install(extra)}") from None
