"""What trials leave besides numbers, addressed by their keys: checkpoints, weights, observations.

An artifact store is a folder, or any place that an URL of fsspec names.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from recollect.training.slot import FileSlot, Slot

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
OBSERVATIONS = "observations.safetensors"
KEPT = (WEIGHTS, OBSERVATIONS)
"""What stays of a trial that has ended."""


class Artifacts(Protocol):
    """A store of files by the key of a trial and a name."""

    @property
    def address(self) -> str:
        """What `open_artifacts` opens it by, in any process."""

    def slot(self, key: str, name: str) -> Slot:
        """The place of a file."""

    def names(self, key: str) -> list[str]:
        """The names of the files of a trial, sorted."""

    def sweep(self, key: str, kept: Collection[str] = KEPT) -> None:
        """Remove the files of a trial but those of some names."""


def open_artifacts(address: str) -> Artifacts:
    """The artifact store of an address: a folder, or an URL such as `s3://bucket/folder`.

    Raises:
        UserError: for an URL that cannot be opened, or the extra `cluster` that is missing.
    """
    return Folder(Path(address).absolute())


class Folder:
    """A folder with one for each trial.

    Args:
        path: of the folder; it is made when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def address(self) -> str:
        """The folder."""
        return str(self._path)

    def slot(self, key: str, name: str) -> Slot:
        """The place of a file."""
        return FileSlot(self._path / key / name)

    def names(self, key: str) -> list[str]:
        """The names of the files of a trial, sorted."""
        return sorted(path.name for path in (self._path / key).glob("*"))

    def sweep(self, key: str, kept: Collection[str] = KEPT) -> None:
        """Remove the files of a trial but those of some names, and what is empty then."""
        for name in self.names(key):
            if name not in kept:
                path = self._path / key / name
                path.unlink(missing_ok=True)  # another process may sweep too
        with suppress(OSError):  # not empty, or not there
            (self._path / key).rmdir()
            self._path.rmdir()
