"""Identify classes and functions in a trial's key.

Our own classes are identified by name and numerics version, a user's classes and functions by name
and source digest. A *reference* lets a process on this machine find a class. A *name* stands in
stored configs and does not depend on the location of the file.
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
    "expected file.py:Name, or package.module:Name in the current folder or in a folder of"
    " PYTHONPATH"
)

_KNOWN: dict[tuple[str, str], str] = {}
"""References by name and digest, for classes that this process has named."""


def is_ours(cls: type) -> bool:
    """Return True if the class is part of this package."""
    return _package(cls) == OURS


def class_name(cls: type | FunctionType) -> str:
    """`package.module:Class` as in stored configs, independent of where the module lies.

    For a script or a file, the module is the name by which it would be imported.
    """
    module = sys.modules.get(cls.__module__)
    title = cls.__module__ if module is None else title_of(module)
    return f"{title}:{cls.__qualname__}"


def reference(cls: type | FunctionType) -> str:
    """The text by which `import_class` finds a class again, in spawned processes too.

    It is `package.module:Class`, or `/folder/file.py:Class` for a class in a script or in a file
    that was loaded by its path.

    Raises:
        UserError: if it would find another class or none.
    """
    module = sys.modules.get(cls.__module__)
    there = _follow(module, cls.__qualname__)
    if there is not cls:
        raise _not_found(cls, is_replaced=isinstance(there, type | FunctionType))
    file = None if module is None else file_of(module)
    if file is not None and (cls.__module__ in MAIN or cls.__module__.startswith(PREFIX)):
        return f"{file}:{cls.__qualname__}"
    return f"{cls.__module__}:{cls.__qualname__}"


def resolve(name: str, digest: str | None = None) -> str:
    """The reference of a class given by its name, a reference, or a file.

    Args:
        name: `package.module:Class` or `file.py:Class`.
        digest: the digest of the class's source, if known.
    """
    known = _KNOWN.get((name, digest or ""))
    if known is not None:
        return known
    place, _, qualname = name.rpartition(":")
    return f"{Path(place).resolve()}:{qualname}" if is_file_name(place) else name


def is_file_name(place: str) -> bool:
    """Return True if `place` names a file, False if it names a module."""
    return place.endswith(".py") or os.sep in place


def import_class(name: str) -> Any:
    """Import the class that a reference names.

    Raises:
        UserError: if it does not exist.
    """
    return import_named(name, type)


def import_function(name: str) -> Any:
    """Import the function that a reference names.

    Raises:
        UserError: if it does not exist.
    """
    return import_named(name, FunctionType)


def import_named(name: str, kind: type = object) -> Any:
    """Import the object that a reference names.

    Raises:
        UserError: if it does not exist, or is not an instance of `kind`.
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
    """Import a module given by its name or its file.

    Raises:
        UserError: if the file does not exist, or would not import the modules that lie beside it.
        ImportError: if the module does not exist.
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
    """16 hexadecimal digits that change when the source of a user's class or function changes.

    `recollect.sources` says what counts as source.

    Raises:
        UserError: if a source cannot be read, or if a constant has another value than in its
            source.
    """
    sources = class_sources(cls)
    refuse_altered(sources)
    digest = digest_of(sources)
    _KNOWN[class_name(cls), digest] = reference(cls)
    return digest


def class_sources(cls: type | FunctionType) -> Sources:
    """The sources that the digest of a user's class or function covers.

    Raises:
        UserError: if the source of the class, or of a module that it imports, cannot be read.
    """
    module = sys.modules.get(cls.__module__)
    source = None if module is None else loaded(module)
    if source is None:
        raise UserError(
            f"the source of {class_name(cls)} cannot be read, but a trial's key needs it: put"
            f" {_kind(cls)} into a file (in a notebook: a cell that begins with %%writefile"
            " mine.py), and import it from there"
        )
    ancestry = cls.__mro__ if isinstance(cls, type) else ()
    bases = [base.__module__ for base in ancestry if base.__module__ != cls.__module__]
    return sources_of(source, bases)


def own_references(stored: Any) -> dict[str, str]:
    """References of the user's classes and functions in a stored config, by `name#digest`.

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
    """Import the classes that `own_references` of another process found.

    Afterwards stored configs find them in this process.

    Raises:
        UserError: if a class does not exist or its source differs.
    """
    for stored, place in references.items():
        name, _, digest = stored.rpartition("#")
        if (name, digest) not in _KNOWN:
            if source_digest(import_named(place)) != digest:
                raise FatalError(
                    f"{place} was edited after the process of the study had loaded it: start the"
                    " study again in a new process (in a notebook, restart the kernel)"
                )
            _KNOWN[name, digest] = place


def present_digest(name: str, folders: list[str]) -> tuple[Path, str] | None:
    """The file of a class on the disk and the digest of its present source; runs no code.

    Args:
        name: the stored name of the class.
        folders: folders that are searched before the import path for the class's module, and after
            it for the modules that it imports.

    Returns:
        None if there is no module of that name.
    """
    path = list(sys.path)
    sys.path += folders
    try:
        source = found(name.rpartition(":")[0], folders)
        return None if source is None else (source.file, digest_of(sources_of(source)))
    finally:
        sys.path[:] = path


def _not_found(cls: type | FunctionType, *, is_replaced: bool) -> UserError:
    """The error for a class or function that its name does not find.

    Args:
        cls: the class or function.
        is_replaced: whether its name finds another one, as after `importlib.reload` or when the
            cell of a notebook is run again.
    """
    what = f"{_kind(cls)} {class_name(cls)}"
    if is_replaced:
        return UserError(
            f"{what} was defined again since: import it again, and make the configs that use it"
            " anew"
        )
    how = "with `def` at the top level of a module"
    if isinstance(cls, type):
        how = (
            "at the top level of a module; instead of making it in a function from arguments, take"
            " them as options of its constructor"
        )
    return UserError(f"{what} cannot be found by its name: define it {how}")


def _kind(cls: type | FunctionType) -> str:
    return "the class" if isinstance(cls, type) else "the function"


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _follow(module: ModuleType | None, qualname: str) -> Any:
    """The value of a dotted name in a module; None if there is none."""
    value: Any = module
    for part in qualname.split("."):
        value = getattr(value, part, None)
    return value
