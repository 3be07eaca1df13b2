"""Find the module of a name, and tell the user's modules from installed ones and from Python's.

No module is run to find out.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from recollect.own_files import MAIN, file_of, title_of

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages. An editable package lies elsewhere and counts as the user's."""


@dataclass(frozen=True)
class Module:
    """A module, loaded or not.

    Attributes:
        title: its name in a digest.
        package: the package that its relative imports start from.
        file: its file.
        spec: its import spec; None for a script.
    """

    title: str
    package: str
    file: Path
    spec: ModuleSpec | None


def loaded(module: ModuleType) -> Module | None:
    """Describe a loaded module; None if it has no file."""
    file, spec = file_of(module), module.__spec__
    if file is None:
        return None
    package = "" if spec is None else spec.parent or ""
    return Module(title_of(module), package, file, spec)


def found(name: str, folders: Sequence[str]) -> Module | None:
    """Find the user's module of a dotted name in `folders`, or else on the import path.

    No code is run.
    """
    spec: ModuleSpec | None = None
    places: Sequence[str] | None = folders
    for end in prefixes(name):
        spec = None if places is None else PathFinder.find_spec(end, places)
        places = None if spec is None else spec.submodule_search_locations
    module = of_spec(spec or locate(name))
    return None if module is None or is_standard(module.file) else module


def in_use(module: Module) -> ModuleType | None:
    """The loaded module; None if it is not loaded."""
    names = MAIN if module.spec is None else (module.spec.name, *MAIN)
    there = filter(None, map(sys.modules.get, names))
    return next((m for m in there if m.__spec__ is module.spec and file_of(m) == module.file), None)


def prefixes(name: str) -> Iterator[str]:
    """Yield `a`, `a.b` and `a.b.c` for `a.b.c`; nothing for an empty name."""
    parts = name.split(".") if name else []
    yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def locate(name: str) -> ModuleSpec | None:
    """The import spec of a module, loaded or not; runs no code."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__spec__", None)
    parent = name.rpartition(".")[0]
    if not parent:
        with suppress(ImportError, ValueError):
            return find_spec(name)
        return None
    above = locate(parent)
    folders = None if above is None else above.submodule_search_locations
    return None if folders is None else PathFinder.find_spec(name, folders)


def of_spec(spec: ModuleSpec | None) -> Module | None:
    """The module of an import spec; None if it has no file."""
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Module(spec.name, spec.parent or "", Path(spec.origin).resolve(), spec)


def has_version(module: Module) -> bool:
    """Return True for a module of an installed package: its version stands for its source."""
    return _is_installed(module.file) and bool(installed_versions(module.title))


def _is_installed(file: Path) -> bool:
    return not INSTALLED.isdisjoint(file.parts)


def is_standard(file: Path) -> bool:
    """Return True if a file is part of Python."""
    return not _is_installed(file) and any(map(file.is_relative_to, _standard_folders()))


@cache
def _standard_folders() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")]


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def installed_versions(module: str) -> list[str]:
    """The distributions that provide a module, as `name==version`; none if copied in by hand."""
    return _versions_of(module.partition(".")[0])


@cache
def _versions_of(package: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in {*_distributions().get(package, [])}]
