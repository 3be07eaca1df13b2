"""The sources of a user's classes and functions, sent to a machine that does not have them.

What is sent is what the digest of a class covers: the module of the class, and the modules of the
user's own that it imports. Installed packages stay where they are; their versions are part of the
digest, which is checked on arrival.
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
"""Folders of modules that are imported by name, and of files that are loaded as they are."""


@dataclass(frozen=True)
class SentSources:
    """Files that together hold some classes.

    Attributes:
        files: contents by place in a folder.
        classes: by `name#digest`, where the class is: a place in the folder or the name of a
            module, and the class's name in it.
        versions: the installed packages that the digests cover, as `name==version`.
    """

    files: Mapping[str, bytes]
    classes: Mapping[str, str]
    versions: frozenset[str]


def pack(classes: Mapping[str, str]) -> SentSources:
    """The sources of classes of this process.

    Args:
        classes: references by `name#digest`.

    Raises:
        UserError: where a source cannot be read, or was edited after it was loaded.
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
        module = next(iter(sources.files.values())).module  # that of the class comes first
        places[identity] = f"{_import_name(module)}:{found.__qualname__}"
    return SentSources(files, places, frozenset(versions))


def unpack(sent: SentSources, folder: Path) -> dict[str, str]:
    """Make classes that were sent importable in this process; returns their references here.

    Args:
        sent: what `pack` gave.
        folder: where the files go, of this process alone; more can be unpacked into it later.

    Raises:
        FatalError: where a class is not what it was where it was sent from.
    """
    modules = str(folder / MODULES)
    if modules not in sys.path:
        sys.path.insert(0, modules)  # before an installed package of another version
    for place, data in sent.files.items():
        path = folder / place
        if not path.exists():  # a module that is loaded is not touched
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
        else ": its source, or a module that it imports, was replaced by another of the same name"
    )
    raise FatalError(f"{name} is another here than where it was sent from{packages}")


def _is_sent(module: Module) -> bool:
    """Compiled modules are not: they are built for a machine."""
    return not has_version(module) and not module.file.name.endswith(tuple(EXTENSION_SUFFIXES))


def _is_file(module: Module) -> bool:
    """Whether a module is found by its file, not by its name."""
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
