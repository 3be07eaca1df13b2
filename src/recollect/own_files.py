"""A file of the user's as a module: exactly this file, whatever else has its name.

The module's name is made from the file's path, so that two files called `mine.py` are two modules,
`random.py` is not Python's own, and a spawned process, which unpickles by name, finds the same
file.
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
"""Of the names of such modules; the path in hexadecimal digits follows."""
MAIN = ("__main__", "__mp_main__")
"""What a script is called, in its own process and in those that it spawns."""


class FileLoader(SourceFileLoader):
    """Compiles the file as it is.

    Without the cache of bytecode, which tells an edit by time and size alone.

    Attributes:
        data: the bytes that were compiled.
    """

    data: bytes

    def path_stats(self, path: Any) -> Any:  # noqa: ARG002
        """There are none: importlib neither reads nor writes bytecode."""
        raise OSError

    def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override]
        """The compiled file; its bytes are kept."""
        self.data = bytes(data)
        return super().source_to_code(data, path, **options)


_STARTED = time.time()
_SEARCHES: dict[str, float] = {}


class _Finder:
    """Finds the modules that `load_file` makes, in any process that has imported this file; of all
    others it notes when they were looked for."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004
        _SEARCHES[name] = time.time()
        if not name.startswith(PREFIX):
            return None
        file = os.fsdecode(bytes.fromhex(name.removeprefix(PREFIX)))
        return spec_from_file_location(name, file, loader=FileLoader(name, file))


sys.meta_path.insert(0, _Finder)


def last_search(name: str) -> float:
    """When a module was last looked for to be loaded: what changed its file later is not in it.
    What had been loaded before this file was, as a script has, is given the time of that."""
    return _SEARCHES.get(name, _STARTED)


def load_file(path: Path) -> ModuleType:
    """The module in a file.

    A file with relative imports is imported as a part of its package. The folder of any other is
    put at the end of the import path, so that what lies beside it can be imported, and takes the
    place of nothing.

    Raises:
        UserError: if there is no such file, or its package is another than the one in use.
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
            f"{path} is not what {name} stands for: that is {file_of(module)}; rename one of the"
            " packages, or use a process for each"
        )
    return module


def _import_alone(file: Path) -> ModuleType:
    try:
        return import_module(PREFIX + os.fsencode(file).hex())
    except ImportError as error:
        if error.name == file.stem and error.path and Path(error.path).resolve() == file:
            raise UserError(
                f"{file} has the name of the module {file.stem} that it imports, and so imports"
                " itself: rename the file"
            ) from error
        raise


def file_of(module: ModuleType) -> Path | None:
    """Where a module lies; None if it is built in or was typed."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and not file.startswith("<") else None


def title_of(module: ModuleType) -> str:
    """A module's name, which for a file or script is what it would be imported by."""
    spec, file = module.__spec__, file_of(module)
    if spec is not None and not spec.name.startswith(PREFIX):
        return spec.name
    return module.__name__ if file is None else file.stem


def _is_relative(file: Path) -> bool:
    """Whether a file has imports that only a package can satisfy."""
    nodes = ast.walk(ast.parse(file.read_bytes(), str(file)))
    return any(isinstance(node, ast.ImportFrom) and node.level for node in nodes)


def _package(file: Path) -> tuple[Path, str]:
    """The folder that the package of a file lies in, and the file's name as its module."""
    parts = [] if file.stem == "__init__" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _extend_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
