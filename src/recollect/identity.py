"""What a class is, for the key of a trial: ours by name and numerics version, a user's by its name
and source. A user's function is told as a class is.

A class has a *reference*, by which a process of this machine finds it, and a *name*, which stands
in stored configs and does not depend on where the file lies. Name and digest together tell a class.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from recollect.altered import refuse_altered
from recollect.errors import FatalError, UserError, nearest
from recollect.modules import found, loaded
from recollect.own_files import MAIN, PREFIX, file_of, load_file, title_of
from recollect.sources import Sources, digest_of, refuse_shadowed, sources_of

OURS = "recollect"

_EXPECTED = (
    "expected file.py:Name, or package.module:Name in the current folder or one that PYTHONPATH"
    " names"
)

_KNOWN: dict[tuple[str, str], str] = {}
"""References by name and digest, of the classes that this process has named."""


def is_ours(cls: type) -> bool:
    """Whether the class is part of this package."""
    return _package(cls) == OURS


def class_name(cls: type | FunctionType) -> str:
    """`package.module:Class` as stored configs have it, wherever the module lies; that of a script
    or a file is what it would be imported by."""
    module = sys.modules.get(cls.__module__)
    title = cls.__module__ if module is None else title_of(module)
    return f"{title}:{cls.__qualname__}"


def reference(cls: type | FunctionType) -> str:
    """`package.module:Class`, or `/folder/file.py:Class` of a script or a class in a file that was
    loaded as one: from either `import_class` finds the class again, in spawned processes too.

    Raises:
        UserError: where that finds another class, or none.
    """
    module = sys.modules.get(cls.__module__)
    if _follow(module, cls.__qualname__) is not cls:
        raise UserError(
            f"{_kind(cls)} {class_name(cls)} cannot be found by its name: expected one that stands"
            " at the top level of a module; what a function makes of its arguments, the options of"
            " a class's constructor can say"
        )
    file = None if module is None else file_of(module)
    if file is not None and (cls.__module__ in MAIN or cls.__module__.startswith(PREFIX)):
        return f"{file}:{cls.__qualname__}"
    return f"{cls.__module__}:{cls.__qualname__}"


def resolve(name: str, digest: str | None = None) -> str:
    """The reference of a class that is given by its name, a reference, or a file.

    Args:
        name: `package.module:Class` or `file.py:Class`.
        digest: of the class's source, where it is known.
    """
    known = _KNOWN.get((name, digest or ""))
    if known is not None:
        return known
    place, _, qualname = name.rpartition(":")
    return f"{Path(place).resolve()}:{qualname}" if is_file_name(place) else name


def is_file_name(place: str) -> bool:
    """Whether it names a file, not a module."""
    return place.endswith(".py") or os.sep in place


def import_class(name: str) -> Any:
    """The class of a reference.

    Raises:
        UserError: if there is none.
    """
    return import_named(name, type)


def import_function(name: str) -> Any:
    """The function of a reference.

    Raises:
        UserError: if there is none.
    """
    return import_named(name, FunctionType)


def import_named(name: str, kind: type = object) -> Any:
    """What a reference names.

    Raises:
        UserError: if there is no such thing, or it is of another kind.
    """
    place, _, qualname = name.rpartition(":")
    try:
        module = load(place)
    except ImportError as error:
        raise UserError(f"cannot import {name!r}: {error}; {_EXPECTED}") from error
    found_there = _follow(module, qualname)
    if found_there is None:
        names = [key for key, value in vars(module).items() if isinstance(value, kind)]
        near = "".join(f", did you mean {each!r}?" for each in nearest(qualname, names)[:1])
        raise UserError(f"cannot import {name!r}: {place} has no {qualname}{near}; {_EXPECTED}")
    if not isinstance(found_there, kind):
        raise UserError(f"{name!r} is not a {'class' if kind is type else 'function'}")
    return found_there


def load(place: str) -> ModuleType:
    """The module of a name or a file.

    Raises:
        UserError: if there is no such file, or what lies beside it is not what it would import.
        ImportError: if there is no such module.
    """
    if is_file_name(place):
        return _load_file(Path(place).resolve())
    main = next(filter(None, map(sys.modules.get, MAIN)))
    return main if place == title_of(main) else import_module(place)


@cache
def _load_file(file: Path) -> ModuleType:
    module = load_file(file)
    source = loaded(module)
    assert source is not None
    refuse_shadowed(source)
    return module


def source_digest(cls: type | FunctionType) -> str:
    """16 digits that change with the source of a user's class or function, as `sources` tells it.

    Raises:
        UserError: where the source of the class, or of what it builds on, cannot be read, or says
            another value of a constant than it has.
    """
    sources = class_sources(cls)
    refuse_altered(sources)
    digest = digest_of(sources)
    _KNOWN[class_name(cls), digest] = reference(cls)
    return digest


def class_sources(cls: type | FunctionType) -> Sources:
    """What the digest of a user's class or function covers.

    Raises:
        UserError: where the source of the class, or of what it builds on, cannot be read.
    """
    module = sys.modules.get(cls.__module__)
    source = None if module is None else loaded(module)
    if source is None:
        raise UserError(
            f"the source of {class_name(cls)} cannot be read, and it is part of a trial's key: put"
            f" {_kind(cls)} into a file (in a notebook: a cell that begins with %%writefile"
            " mine.py), and import it from there"
        )
    ancestry = cls.__mro__ if isinstance(cls, type) else ()
    bases = [base.__module__ for base in ancestry if base.__module__ != cls.__module__]
    return sources_of(source, bases)


def own_references(stored: Any) -> dict[str, str]:
    """Where this machine finds the user's classes and functions that a stored config names, by
    `name#digest`.

    Args:
        stored: the config, as nested dicts and lists.
    """
    found: dict[str, str] = {}
    if isinstance(stored, Mapping):
        name, digest = stored.get("class") or stored.get("mixer"), stored.get("source")
        if isinstance(name, str) and isinstance(digest, str):
            found[f"{name}#{digest}"] = resolve(name, digest)
        for value in stored.values():
            found |= own_references(value)
    elif isinstance(stored, list | tuple):
        for value in stored:
            found |= own_references(value)
    elif isinstance(stored, str) and ":" in stored and "#" in stored:
        name, _, digest = stored.rpartition("#")
        if (name, digest) in _KNOWN:
            found[stored] = _KNOWN[name, digest]
    return found


def learn(references: Mapping[str, str]) -> None:
    """Load what `own_references` of another process names, so that stored configs find it here.

    Raises:
        UserError: where it is not there, or has another source.
    """
    for told, place in references.items():
        name, _, digest = told.rpartition("#")
        if (name, digest) not in _KNOWN:
            if source_digest(import_named(place)) != digest:
                raise FatalError(f"{place} was edited meanwhile: start the study again")
            _KNOWN[name, digest] = place


def present_digest(name: str, folders: list[str]) -> tuple[Path, str] | None:
    """Where the source of a class lies at present, and its digest; none of it is run.

    Args:
        name: of the class.
        folders: where it is looked for before the import path, and what it imports behind that.

    Returns:
        None where there is no module of that name.
    """
    path = list(sys.path)
    sys.path += folders
    try:
        source = found(name.rpartition(":")[0], folders)
        return None if source is None else (source.file, digest_of(sources_of(source)))
    finally:
        sys.path[:] = path


def _kind(cls: type | FunctionType) -> str:
    return "the class" if isinstance(cls, type) else "the function"


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _follow(module: ModuleType | None, qualname: str) -> Any:
    """What a dotted name within a module stands for; None if nothing."""
    value: Any = module
    for part in qualname.split("."):
        value = getattr(value, part, None)
    return value
