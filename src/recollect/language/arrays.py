"""Arrays in a folder: made once, memory-mapped, and checked before they are read.

Each array is a file of plain little-endian numbers. `manifest.json` has its type, length and
digest, and facts about the whole. A folder of its final name is complete. One in the making has a
hidden name beside it; its manifest tells what is there already, and whoever makes it next goes on.
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
from recollect.files import make_folder, replacing
from recollect.language.kept import keep

FORMAT = 1
"""Raised when such folders come to be written in another way."""
MANIFEST = "manifest.json"

Numbers = Shaped[np.ndarray, " n"]


def made_once(folder: Path, make: Callable[[ArrayWriter], None]) -> ArrayFolder:
    """The folder, made by `make` if it is not there; by one process, while others wait for it.

    Raises:
        UserError: where the folder cannot be made or written, or is damaged.
    """

    def make_whole() -> None:
        unfinished = folder.with_name(f".{folder.name}.unfinished")
        make_folder(unfinished)
        make(ArrayWriter(unfinished))
        unfinished.rename(folder)

    keep(folder, make_whole)
    return ArrayFolder(folder)


class ArrayFolder:
    """Arrays that are there to be read.

    Args:
        path: the folder.

    Attributes:
        about: the facts about the whole.

    Raises:
        UserError: if it is no such folder, or a file of it is missing or not of its length.
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
                    f" {expected:,}; remove the folder {path}, and it is made anew"
                )

    def length(self, name: str) -> int:
        """How many numbers an array has."""
        return int(self._arrays[name]["length"])

    def __getitem__(self, name: str) -> Numbers:
        """An array of the disk, for reading; its digest is checked the first time.

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
                    f"{self.path / name} is damaged: remove the folder {self.path}, and it is"
                    " made anew"
                )
            self._checked.add(name)
        return array


class ArrayWriter:
    """Arrays in the making.

    Args:
        path: the folder; arrays and facts that its manifest tells of stay, the rest is removed.

    Attributes:
        about: facts about the whole; to be set as they become known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        begun = (path / MANIFEST).exists()
        manifest = _read_manifest(path) if begun else {"about": {}, "arrays": {}}
        self.about: dict[str, Any] = manifest["about"]
        self._arrays: dict[str, dict[str, Any]] = manifest["arrays"]
        for left in path.iterdir():  # by whoever was killed
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != MANIFEST and left.name not in self._arrays:
                left.unlink()

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def write(self, name: str, array: Numbers) -> None:
        """An array as a file."""
        with self.stream(name, array.dtype) as put:
            put(array)

    @contextmanager
    def stream(self, name: str, dtype: np.dtype[Any]) -> Iterator[Callable[[Numbers], None]]:
        """What the block puts, one after the other, as one array."""
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
        """Note what there is by now: it will not be made again."""
        manifest = {"format": FORMAT, "about": self.about, "arrays": self._arrays}
        with replacing(self.path / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


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


def _entry(told: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of an array; raises what Python does where that is no such thing."""
    np.dtype(told["dtype"])
    return {"dtype": told["dtype"], "length": int(told["length"]), "sha256": str(told["sha256"])}
