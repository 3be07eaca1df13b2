"""A user's function in a config: it is named by where this machine finds it, and stored by its name
and the digest of its source."""

from __future__ import annotations

import re
from types import FunctionType
from typing import Any

from recollect.errors import UserError
from recollect.identity import class_name, import_function, reference, resolve, source_digest

_STORED = re.compile(r"(.*)#([0-9a-f]{16})")


def is_own(name: str) -> bool:
    """Whether a name stands for a user's function, not for an entry of ours."""
    return ":" in name


def stored_name(name: str) -> str:
    """As a config is stored: `package.module:function#digest`; the name itself for one of ours."""
    if not is_own(name):
        return name
    function = import_function(name)
    return f"{class_name(function)}#{source_digest(function)}"


def name_and_digest(name: str) -> tuple[str, str | None]:
    """The two parts of a stored name; the digest is None where there is none."""
    stored = _STORED.fullmatch(name)
    return (stored[1], stored[2]) if stored else (name, None)


def source_of(name: str) -> tuple[str, str] | None:
    """Name and digest of the function in a stored config; None for an entry of ours."""
    plain, digest = name_and_digest(name)
    return None if digest is None else (plain, digest)


def function_reference(value: str | FunctionType, kind: str) -> str:
    """Where this machine finds a function.

    Args:
        value: the function, `file.py:function`, `package.module:function`, or a stored name.
        kind: what it is called in messages ("metric").

    Raises:
        UserError: where there is none, or a stored one has another source today.
    """
    if isinstance(value, FunctionType):
        return reference(value)
    name, digest = name_and_digest(value)
    found = resolve(name, digest)
    function: Any = import_function(found)
    if digest is not None and source_digest(function) != digest:
        raise UserError(f"the {kind} {name!r} has changed since this was stored")
    return found
