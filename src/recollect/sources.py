"""A digest of the source code that the results of a user's module depend on.

It covers the module, the user's modules that it imports directly or indirectly, and the names and
versions of the installed packages that these import. Only import statements are followed: modules
imported by a computed name and data files are not covered. Line endings do not count.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import decode_source, resolve_name
from pathlib import Path
from typing import Any

from recollect.constants import changed_by_itself, class_bodies, constants
from recollect.errors import UserError
from recollect.modules import (
    Module,
    has_version,
    in_use,
    installed_versions,
    is_standard,
    locate,
    of_spec,
    prefixes,
)
from recollect.own_files import MAIN, FileLoader, last_search

FOUNDATION = {
    "recollect",
    *("torch", "numpy", "numba", "einops", "jaxtyping", "pydantic", "typing_extensions"),
}
"""Packages left out of a digest: ours has numerics versions, and the trials of our own mixers
depend on the others too."""


class EditedError(UserError):
    """A file was edited after it was loaded and before it was read, so its source is unknown.

    Attributes:
        file: the file.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file} was edited after this process had loaded it, so the old version would run:"
            " restart the process (in a notebook, the kernel)"
        )
        self.file = file


@dataclass(frozen=True)
class Source:
    """The source of a module, as it was when first read.

    Attributes:
        module: the module as it was loaded; a reload gives it another spec.
        line: its line in the digest.
        imports: the dotted names in its import statements.
        constants: its constants, see `recollect.constants.constants`.
        classes: the names bound in each of its class bodies.
        changes: the names that it changes itself.
    """

    module: Module
    line: str
    imports: tuple[str, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    changes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sources:
    """The sources that the results of a user's class depend on.

    Attributes:
        files: the user's modules.
        versions: names and versions of installed packages.
    """

    files: dict[Path, Source]
    versions: set[str]

    def of(self, name: str | None) -> Source | None:
        """The source of the module with this dotted name; None if it is not among these."""
        module = None if name is None else of_spec(locate(name))
        return None if module is None else self.files.get(module.file)


_SOURCES: dict[tuple[Path, str | None], Source] = {}
"""Sources by file and name of the module. The file of a loaded module is read once, since later
edits of it do not run."""


def sources_of(module: Module, bases: Iterable[str] = ()) -> Sources:
    """The sources of a module and of all that it imports.

    Args:
        module: the module to start from.
        bases: names of further modules that are covered as if it imported them.

    Raises:
        UserError: if a source cannot be read.
        EditedError: if a file was edited after it was loaded.
    """
    sources = Sources({}, set())
    _collect(module, sources.files, sources.versions)
    for name in (module.package, *bases):  # importing a module runs its package first
        _follow(name, sources.files, sources.versions)
    return sources


def digest_of(sources: Sources) -> str:
    """16 hexadecimal digits that change when the sources change."""
    lines = sorted(source.line for source in sources.files.values()) + sorted(sources.versions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def refuse_shadowed(module: Module) -> None:
    """Check that the modules beside a file are the ones that it imports.

    Raises:
        UserError: if another module of the same name is in use.
    """
    sources: dict[Path, Source] = {}
    _collect(module, sources, set())
    folder = module.file.parent
    imports = {n for file, s in sources.items() if file.parent == folder for n in s.imports}
    for name in sorted({name.partition(".")[0] for name in imports}):
        beside = [(folder / f"{name}.py").resolve(), (folder / name / "__init__.py").resolve()]
        there = [file for file in beside if file.is_file() and file != module.file]
        used = of_spec(locate(name))
        if there and (used is None or used.file not in there):
            raise UserError(
                f"{module.file} imports {name} from its own folder, but the module of that name"
                f" in use is {'built in' if used is None else used.file}: rename {there[0]}, or"
                " use a separate process for each"
            )


def _collect(module: Module, sources: dict[Path, Source], versions: set[str]) -> None:
    """Add a module and, unless it is installed, the modules that it imports."""
    if module.file in sources:
        return
    sources[module.file] = source = _read(module)
    if has_version(module):
        versions.update(installed_versions(module.title))
        return
    for name in source.imports:
        _follow(name, sources, versions)


def _follow(imported: str, sources: dict[Path, Source], versions: set[str]) -> None:
    """Add the modules that are loaded for a dotted name, including its parent packages."""
    for name in prefixes(imported):
        if name in FOUNDATION:
            return
        spec = locate(name)
        if spec is None:
            _refuse_sourceless(name)
            return
        module = of_spec(spec)
        if module is None:  # built in, or a package without its own file
            continue
        if has_version(module):
            versions.update(installed_versions(name))
            return
        if is_standard(module.file):
            return
        _collect(module, sources, versions)


def _refuse_sourceless(name: str) -> None:
    module = sys.modules.get(name)
    if module is not None and name not in MAIN:
        raise UserError(
            f"the module {name} was created by a program, not loaded from a file, so its source"
            " cannot be part of a trial's key: put it into a file"
        )


def _read(module: Module) -> Source:
    """The source of a module; its file is read once while it is loaded."""
    place = (module.file, None if module.spec is None else module.spec.name)
    known = _SOURCES.get(place)
    if known is None or known.module.spec is not module.spec:
        data = bytes_of(module)
        binary = Source(module, _line(module, data))
        known = _source(module, data) if _is_text(module) else binary
        if in_use(module) is not None:  # a file that is not loaded may still change
            _SOURCES[place] = known
    return known


def was_edited(source: Source) -> bool:
    """Return True if the file of a module now has another source than the one that runs."""
    try:
        data = source.module.file.read_bytes()
    except OSError:  # it was removed, or lies in an archive
        return False
    return _line(source.module, data) != source.line


def _source(module: Module, data: bytes) -> Source:
    """The source of a module written in Python."""
    tree = _parsed(module, data)
    loaded_as = in_use(module)
    is_script = loaded_as is not None and loaded_as in map(sys.modules.get, MAIN)
    return Source(
        module,
        _line(module, data),
        tuple(_imports(tree, module.package)),
        constants(tree),
        class_bodies(tree),
        frozenset(changed_by_itself(tree, is_script=is_script)),
    )


def _is_text(module: Module) -> bool:
    return not module.file.name.endswith(tuple(EXTENSION_SUFFIXES))


def _line(module: Module, data: bytes) -> str:
    if _is_text(module):
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return f"{module.title} {hashlib.sha256(data).hexdigest()}"


def _parsed(module: Module, data: bytes) -> ast.Module:
    try:
        return ast.parse(decode_source(data))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UserError(f"{module.file} is not valid Python: {error}") from error


def bytes_of(module: Module) -> bytes:
    """The bytes of a module's file, on the disk or in an archive.

    Raises:
        UserError: if the file cannot be read.
        EditedError: if it was edited after it was loaded.
    """
    loader: Any = None if module.spec is None else module.spec.loader
    if isinstance(loader, FileLoader):
        return loader.data
    if module.file.suffix == ".pyc":
        raise UserError(f"{module.file} has no source code, which a trial's key needs")
    if _was_edited(module):
        raise EditedError(module.file)
    try:
        if hasattr(loader, "get_data") and module.spec is not None:  # a module in an archive
            return bytes(loader.get_data(module.spec.origin))
        return module.file.read_bytes()
    except OSError as error:
        raise UserError(
            f"the source of {module.title} cannot be read, but a trial's key needs it:"
            f" {module.file}: {error.strerror or error}"
        ) from error


def _was_edited(module: Module) -> bool:
    """Return True if the file of a loaded module is newer than the module."""
    name = module.title if module.spec is None else module.spec.name
    is_loaded = (
        module.spec is None or getattr(sys.modules.get(name), "__spec__", None) is module.spec
    )
    return (
        is_loaded
        and module.file.exists()  # false for a file in an archive
        and module.file.stat().st_mtime > last_search(name)
    )


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """The dotted names in a module's import statements.

    Names imported from a package are included, since they may be modules.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = origin_of(node, package)
            if origin is not None:
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def origin_of(node: ast.ImportFrom, package: str) -> str | None:
    """The module that names are imported from; None for a relative import without a package."""
    with suppress(ImportError):
        return resolve_name("." * node.level + (node.module or ""), package)
    return None
