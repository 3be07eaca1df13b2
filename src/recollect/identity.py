"""What a class is, for the key of a trial: ours by name and numerics version, a user's by its
source.

The source of a class is more than its own lines: what it calls stands around it, or in another
module of the user's.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import decode_source, resolve_name
from pathlib import Path
from typing import Any

from recollect.errors import UserError

OURS = "recollect"
NOT_HASHED = {OURS, "builtins", "torch", "typing", "abc", "pydantic"}
"""Packages whose classes are no part of a digest: ours have a numerics version, the others give a
user's class no numbers of their own."""
INSTALLED = {"site-packages", "dist-packages"}
"""Folders of modules that are nobody's work in hand."""


def is_ours(cls: type) -> bool:
    """Whether the class is part of this package."""
    return _package(cls) == OURS


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
            f"cannot import {path!r}: {error}; expected package.module:Class in the current"
            " folder, or in one that PYTHONPATH names"
        ) from error
    if not isinstance(found, type):
        raise UserError(f"{path!r} is no class")
    return found


def source_digest(cls: type) -> str:
    """16 digits that change with the source of a user's class: with the modules that it and its
    bases are defined in, and with the modules of the user's own that these import.

    A user's own are those that lie beside the module, or beside the package that it is in. Of an
    installed package only the modules of the bases count.

    Raises:
        UserError: where a base has no source that can be read.
    """
    sources: dict[Path, _Source] = {}
    for base in cls.__mro__:
        if _package(base) not in NOT_HASHED:
            _collect(sources, *_place(base))
    texts = "\n".join(source.text for source in sources.values())
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Source:
    """A module as it was when it was first asked for.

    Attributes:
        spec: by what it had been loaded; a reload gives it another.
        text: its source.
        imports: the dotted names in its import statements.
    """

    spec: object
    text: str
    imports: tuple[str, ...]


_SOURCES: dict[Path, _Source] = {}
"""What is edited while a study runs is not what runs, so a loaded module's file is read once."""


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _place(cls: type) -> tuple[str, Path]:
    """The name and the file of a class's module."""
    module = sys.modules.get(cls.__module__)
    with suppress(TypeError):  # built in, or typed at a prompt
        if module is not None and (file := inspect.getsourcefile(module)) is not None:
            spec = module.__spec__
            return spec.name if spec else module.__name__, Path(file).absolute()
    raise UserError(
        f"the source of {import_path(cls)} cannot be read, and it is part of a"
        " trial's key; define the class in a file"
    )


def _collect(sources: dict[Path, _Source], name: str, file: Path) -> None:
    """Add a module, and those of the user's own that it imports."""
    if file in sources:
        return
    sources[file] = source = _read(name, file)
    if INSTALLED.intersection(file.parts):
        return
    beside = file.parents[name.count(".") + (file.stem == "__init__")]
    for imported in source.imports:
        for module, path in _modules(imported, beside):
            _collect(sources, module, path)


def _read(name: str, file: Path) -> _Source:
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is None or file not in _SOURCES or _SOURCES[file].spec is not spec:
        text = decode_source(file.read_bytes())
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        _SOURCES[file] = _Source(spec, text, tuple(_imports(text, package)))
    return _SOURCES[file]


def _imports(text: str, package: str) -> Iterator[str]:
    """The dotted names in a module's import statements; what is imported from a package may be a
    module too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # relative where there is no package: it is not what runs
                origin = resolve_name("." * node.level + (node.module or ""), package)
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def _modules(imported: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of the modules in a folder that are loaded for a dotted name."""
    parts = imported.split(".")
    if parts[0] in NOT_HASHED:
        return
    for n in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:n])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                yield ".".join(parts[:n]), file
