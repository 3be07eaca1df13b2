"""Sources of users' classes and functions, sent to machines that do not have them.

The sent files are those that the digest of a class covers: its module and the user's modules that
it imports. Installed packages are not sent; their versions are part of the digest, which is checked
on arrival.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from recollect.errors import FatalError
from recollect.files import replacing
from recollect.identity import class_sources, import_named, source_digest
from recollect.modules import Module, has_version
from recollect.own_files import PREFIX
from recollect.sources import bytes_of

MODULES, FILES = "modules", "files"
"""Folders for modules imported by name and for files loaded by path."""


@dataclass(frozen=True)
class SentSources:
    """The source files of some classes.

    Attributes:
        files: file contents by path within a folder.
        classes: references by `name#digest`: the path or module name, and the name of the class.
        versions: installed packages that the digests cover, as `name==version`.
    """

    files: Mapping[str, bytes]
    classes: Mapping[str, str]
    versions: frozenset[str]


def pack(classes: Mapping[str, str]) -> SentSources:
    """Collect the sources of classes of this process.

    Args:
        classes: references by `name#digest`.

    Raises:
        UserError: if a source cannot be read or was edited after it was loaded.
    """
    files: dict[str, bytes] = {}
    places: dict[str, str] = {}
    versions: set[str] = set()
    for identity, reference in classes.items():
        found = import_named(reference)
        sources = class_sources(found)
        versions |= sources.versions
        own = [source.module for source in sources.files.values() if _is_sent(source.module)]
        files |= {_place(module): bytes_of(module) for module in own}
        module = next(iter(sources.files.values())).module  # the module of the class comes first
        places[identity] = f"{_import_name(module)}:{found.__qualname__}"
    return SentSources(files, places, frozenset(versions))


def unpack(sent: SentSources, folder: Path) -> dict[str, str]:
    """Make sent classes importable in this process.

    Args:
        sent: the result of `pack`.
        folder: where to write the files. Only this process may use it; later calls may reuse it.

    Returns:
        References to the classes in this process, by `name#digest`.

    Raises:
        FatalError: if a class differs from the one that was sent.
    """
    modules = str(folder / MODULES)
    if modules not in sys.path:
        sys.path.insert(0, modules)  # before an installed package of another version
    for place, data in sent.files.items():
        path = folder / place
        if not path.exists():  # a loaded module is not overwritten
            with replacing(path) as temporary:
                temporary.write_bytes(data)
    importlib.invalidate_caches()
    found = {}
    for identity, place in sent.classes.items():
        found[identity] = f"{folder / place}" if place.startswith(f"{FILES}/") else place
        _check(identity, found[identity], sent.versions)
    return found


def _check(identity: str, reference: str, versions: Iterable[str]) -> None:
    name, _, digest = identity.rpartition("#")
    found = import_named(reference)
    if source_digest(found) == digest:
        return
    here = class_sources(found).versions
    missing, other = sorted({*versions} - here), sorted(here - {*versions})
    packages = (
        f": it uses {', '.join(missing)} there and {', '.join(other)} here; install the same"
        if missing or other
        else ": another module of the same name replaced its source or a module that it imports"
    )
    raise FatalError(f"{name} differs between this machine and the one that sent it{packages}")


def _is_sent(module: Module) -> bool:
    """Whether a module is sent; compiled ones are not, because they are built for one machine."""
    return not has_version(module) and not module.file.name.endswith(tuple(EXTENSION_SUFFIXES))


def _is_file(module: Module) -> bool:
    """Whether a module is loaded by its path, not imported by its name."""
    return module.spec is None or module.spec.name.startswith(PREFIX)


def _place(module: Module) -> str:
    if _is_file(module):
        folder = hashlib.sha256(str(module.file).encode()).hexdigest()[:8]
        return f"{FILES}/{folder}/{module.file.name}"
    assert module.spec is not None
    parts = module.spec.name.split(".")
    is_package = module.spec.submodule_search_locations is not None
    return "/".join([MODULES, *(parts if is_package else parts[:-1]), module.file.name])


def _import_name(module: Module) -> str:
    if _is_file(module):
        return _place(module)
    assert module.spec is not None
    return module.spec.name
