"""What a class is, for the key of a trial: ours by name and numerics version, a user's by its
source."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

from recollect.errors import UserError


def is_ours(cls: type) -> bool:
    """Whether the class is part of this package."""
    return cls.__module__.partition(".")[0] == "recollect"


def import_path(cls: type) -> str:
    """`package.module:Class`, from which `import_class` finds the class again."""
    return f"{cls.__module__}:{cls.__qualname__}"


def import_class(path: str) -> Any:
    """The class at `package.module:Class` on this machine's import path."""
    module_name, _, qualname = path.partition(":")
    try:
        found: Any = __import__(module_name, fromlist=["_"])
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"cannot import {path!r}: {error}; expected package.module:Class"
        ) from error
    if not isinstance(found, type):
        raise UserError(f"{path!r} is no class")
    return found


def source_digest(cls: type) -> str:
    """16 digits that change when the source of a user's class, or of a base of it, changes."""
    sources = []
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] in {"builtins", "torch", "typing", "abc", "pydantic"}:
            continue
        if is_ours(base):
            continue
        try:
            sources.append(inspect.getsource(base))
        except (OSError, TypeError):
            raise UserError(
                f"the source of {import_path(base)} cannot be read, and it is part of a"
                " trial's key; define the class in a file"
            ) from None
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
