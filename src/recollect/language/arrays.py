"""Folders of arrays: written once, memory-mapped, and checked before they are read.

Each array is a file of little-endian numbers. `manifest.json` has its type, length and digest, and
facts about the whole folder. A folder with its final name is complete. An unfinished one has a
hidden name beside it; its manifest lists the finished arrays, so the next process continues from
there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from recollect.errors import UserError
from recollect.files import make_folder
from recollect.language.kept import keep
from recollect.text_output import write_text

FORMAT = 1
"""Version of the format of such folders."""
MANIFEST = "manifest.json"

Numbers = Shaped[np.ndarray, " n"]


def made_once(folder: Path, make: Callable[[ArrayWriter], None]) -> ArrayFolder:
    """Open a folder; if it is missing, one process writes it with `make` while others wait.

    Raises:
        UserError: if the folder cannot be written or is damaged.
    """

    def make_whole() -> None:
        unfinished = folder.with_name(f".{folder.name}.unfinished")
        make_folder(unfinished)
        make(ArrayWriter(unfinished))
        unfinished.rename(folder)

    keep(folder, make_whole)
    return ArrayFolder(folder)


class ArrayFolder:
    """A complete folder of arrays.

    Args:
        path: the folder.

    Attributes:
        about: facts about the whole folder.

    Raises:
        UserError: if it is not such a folder, or a file is missing or has the wrong length.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest = _read_manifest(path)
        self.about: dict[str, Any] = manifest["about"]
        self._arrays: dict[str, dict[str, Any]] = manifest["arrays"]
        self._checked: set[str] = set()
        for name, entry in self._arrays.items():
            file = path / name
            size = file.stat().st_size if file.exists() else 0
            expected = entry["length"] * np.dtype(entry["dtype"]).itemsize
            if size != expected:
                raise UserError(
                    f"{file} is truncated or changed: it has {size:,} bytes, expected"
                    f" {expected:,}; remove the folder {path} to have it written again"
                )

    def length(self, name: str) -> int:
        """Number of elements of an array."""
        return int(self._arrays[name]["length"])

    def __getitem__(self, name: str) -> Numbers:
        """A memory-mapped array; its digest is checked the first time.

        Raises:
            UserError: if the file is damaged.
        """
        entry = self._arrays[name]
        if entry["length"] == 0:
            return np.empty(0, entry["dtype"])
        array = np.memmap(self.path / name, entry["dtype"], mode="r")
        if name not in self._checked:
            if hashlib.sha256(array.data).hexdigest() != entry["sha256"]:
                raise UserError(
                    f"{self.path / name} is damaged: remove the folder {self.path} to have it"
                    " written again"
                )
            self._checked.add(name)
        return array


class ArrayWriter:
    """An unfinished folder of arrays.

    Args:
        path: the folder; files that its manifest does not list are removed.

    Attributes:
        about: facts about the whole folder, to be set by the caller.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        begun = (path / MANIFEST).exists()
        manifest = _read_manifest(path) if begun else {"about": {}, "arrays": {}}
        self.about: dict[str, Any] = manifest["about"]
        self._arrays: dict[str, dict[str, Any]] = manifest["arrays"]
        for left in path.iterdir():  # partial files of a killed process
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != MANIFEST and left.name not in self._arrays:
                left.unlink()

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def write(self, name: str, array: Numbers) -> None:
        """Write an array as a file."""
        with self.stream(name, array.dtype) as put:
            put(array)

    @contextmanager
    def stream(self, name: str, dtype: np.dtype[Any]) -> Iterator[Callable[[Numbers], None]]:
        """Context with a function that appends to one array."""
        length, digest = 0, hashlib.sha256()
        with (self.path / name).open("wb") as file:

            def put(array: Numbers) -> None:
                nonlocal length
                part = np.ascontiguousarray(array, dtype.newbyteorder("<"))
                file.write(part.data)
                digest.update(part.data)
                length += len(part)

            yield put
        self._arrays[name] = {
            "dtype": dtype.newbyteorder("<").str,
            "length": length,
            "sha256": digest.hexdigest(),
        }

    def commit(self) -> None:
        """Write the manifest; the arrays so far will not be written again."""
        manifest = {"format": FORMAT, "about": self.about, "arrays": self._arrays}
        write_text(self.path / MANIFEST, json.dumps(manifest, indent=1))


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["format"] == FORMAT:
            arrays = {name: _entry(entry) for name, entry in manifest["arrays"].items()}
            return {"about": dict(manifest["about"]), "arrays": arrays}
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged: remove the folder {path}") from error
    raise UserError(
        f"{path} was written by another version (format {manifest['format']}, expected {FORMAT}):"
        " remove the folder"
    )


def _entry(stored: dict[str, Any]) -> dict[str, Any]:
    """Validated entry of an array in a manifest; invalid ones raise Python's exceptions."""
    np.dtype(stored["dtype"])
    return {
        "dtype": stored["dtype"],
        "length": int(stored["length"]),
        "sha256": str(stored["sha256"]),
    }
