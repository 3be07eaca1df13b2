"""A user's function in a config: referred to by its place on this machine, stored by name and
source digest."""

from __future__ import annotations

import re
from types import FunctionType
from typing import Any

from recollect.errors import UserError
from recollect.identity import class_name, import_function, reference, resolve, source_digest

_STORED = re.compile(r"(.*)#([0-9a-f]{16})")


def is_own(name: str) -> bool:
    """Return True for the name of a user's function, False for one of ours."""
    return ":" in name


def stored_name(name: str) -> str:
    """The name in a stored config: `package.module:function#digest`, or the plain name of ours."""
    if not is_own(name):
        return name
    function = import_function(name)
    return f"{class_name(function)}#{source_digest(function)}"


def name_and_digest(name: str) -> tuple[str, str | None]:
    """Split a stored name into name and digest; the digest is None if there is none."""
    stored = _STORED.fullmatch(name)
    return (stored[1], stored[2]) if stored else (name, None)


def source_of(name: str) -> tuple[str, str] | None:
    """Name and digest of a user's function in a stored config; None for one of ours."""
    plain, digest = name_and_digest(name)
    return None if digest is None else (plain, digest)


def function_reference(value: str | FunctionType, kind: str) -> str:
    """The reference by which this machine finds a function.

    Args:
        value: the function, `file.py:function`, `package.module:function`, or a stored name.
        kind: the word for it in messages ("metric").

    Raises:
        UserError: if it does not exist, or its source has changed since it was stored.
    """
    if isinstance(value, FunctionType):
        return reference(value)
    name, digest = name_and_digest(value)
    found = resolve(name, digest)
    function: Any = import_function(found)
    if digest is not None and source_digest(function) != digest:
        raise UserError(f"the {kind} {name!r} has changed since this was stored")
    return found
