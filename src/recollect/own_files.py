"""Import a user's file as a module: exactly this file, even if another module has its name.

The module's name contains the file's path. So two files called `mine.py` are two modules,
`random.py` does not collide with Python's own, and a spawned process, which unpickles by name,
finds the same file.
"""

from __future__ import annotations

import ast
import os
import sys
import time
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from recollect.errors import UserError

PREFIX = "recollect_file_"
"""Start of the names of such modules; the path in hexadecimal digits follows."""
MAIN = ("__main__", "__mp_main__")
"""Module names of a script, in its own process and in the processes that it spawns."""


class FileLoader(SourceFileLoader):
    """Compiles the file from its source.

    It ignores the bytecode cache, which misses edits that keep a file's time and size.

    Attributes:
        data: the bytes that were compiled.
    """

    data: bytes

    def path_stats(self, path: Any) -> Any:  # noqa: ARG002
        """Raise, so that importlib neither reads nor writes bytecode."""
        raise OSError

    def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override]
        """Compile the file and keep its bytes."""
        self.data = bytes(data)
        return super().source_to_code(data, path, **options)


_STARTED = time.time()
_SEARCHES: dict[str, float] = {}


class _Finder:
    """Finds the modules of `load_file` in any process that has imported this file.

    For every other module it records when the module was looked for.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004
        _SEARCHES[name] = time.time()
        if not name.startswith(PREFIX):
            return None
        file = os.fsdecode(bytes.fromhex(name.removeprefix(PREFIX)))
        return spec_from_file_location(name, file, loader=FileLoader(name, file))


sys.meta_path.insert(0, _Finder)


def last_search(name: str) -> float:
    """When a module was last looked for: a later edit of its file is not in the loaded module.

    A module loaded before this file, such as a script, gets the time when this file was loaded.
    """
    return _SEARCHES.get(name, _STARTED)


def load_file(path: Path) -> ModuleType:
    """Import the module in a file.

    A file with relative imports is imported as part of its package. Otherwise the file's folder is
    added to the end of the import path: the file can import its neighbours, and they hide no other
    module.

    Raises:
        UserError: if the file does not exist, or another package of the same name is in use.
    """
    file = path.resolve()
    if not file.is_file():
        raise UserError(f"there is no file {path}")
    for module in filter(None, map(sys.modules.get, MAIN)):
        if file_of(module) == file:
            return module
    if not _is_relative(file):
        _extend_path(file.parent)
        return _import_alone(file)
    folder, name = _package(file)
    _extend_path(folder)
    module = import_module(name)
    if file_of(module) != file:
        raise UserError(
            f"{name} is already imported from {file_of(module)}, not from {path}: rename one of the"
            " packages, or use a separate process for each"
        )
    return module


def _import_alone(file: Path) -> ModuleType:
    try:
        return import_module(PREFIX + os.fsencode(file).hex())
    except ImportError as error:
        if error.name == file.stem and error.path and Path(error.path).resolve() == file:
            raise UserError(
                f"{file} has the name of the module {file.stem} that it imports, so it imports"
                " itself: rename the file"
            ) from error
        raise


def file_of(module: ModuleType) -> Path | None:
    """The file of a module; None if it is built in or was typed interactively."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and not file.startswith("<") else None


def title_of(module: ModuleType) -> str:
    """A module's name; for a file or script, the name by which it would be imported."""
    spec, file = module.__spec__, file_of(module)
    if spec is not None and not spec.name.startswith(PREFIX):
        return spec.name
    return module.__name__ if file is None else file.stem


def _is_relative(file: Path) -> bool:
    """Return True if a file has relative imports."""
    nodes = ast.walk(ast.parse(file.read_bytes(), str(file)))
    return any(isinstance(node, ast.ImportFrom) and node.level for node in nodes)


def _package(file: Path) -> tuple[Path, str]:
    """The folder that contains a file's package, and the file's dotted module name."""
    parts = [] if file.stem == "__init__" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _extend_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
