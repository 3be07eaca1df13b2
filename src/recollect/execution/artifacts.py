"""Files that trials write, by trial key and name: checkpoints, weights, observations.

They lie in a folder or at an `fsspec` URL: `s3://bucket/study`, `gs://...`, `file:///shared/study`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recollect.errors import FatalError, UserError, to_install
from recollect.training.slot import FileSlot, Slot

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
OBSERVATIONS = "observations.safetensors"
"""File names of a trial's checkpoint, trained model and observations."""
KEPT = (WEIGHTS, OBSERVATIONS)
"""Files that are kept when a trial has ended."""


class Artifacts(Protocol):
    """Files by trial key and name."""

    @property
    def address(self) -> str:
        """Location of the files, as an argument of `open_artifacts`."""

    def slot(self, key: str, name: str) -> Slot:
        """Slot of a file."""

    def sweep(self, key: str, kept: Collection[str] = KEPT) -> None:
        """Remove all files of a trial except those with the names in `kept`."""


def open_artifacts(address: str) -> Artifacts:
    """Open the artifacts at an address.

    Args:
        address: a folder or an `fsspec` URL.

    Raises:
        UserError: for an address that is neither, or if fsspec is not installed.
    """
    if re.match(r"\w{2,}:(?!//)", address):
        raise UserError(
            f"artifacts={address!r}: expected a folder, or a URL such as s3://bucket/study"
        )
    if "://" not in address:
        return FolderArtifacts(Path(address))
    return RemoteArtifacts(address)


def try_writing(artifacts: Artifacts) -> None:
    """Write and remove a test file, so that a location without write access is found before
    training.

    Raises:
        UserError: if it cannot be written.
    """
    key = f"trial-write-{uuid.uuid4().hex}"
    try:
        with artifacts.slot(key, "empty").writing() as path:
            path.touch()
        artifacts.sweep(key, ())
    except FatalError as error:
        raise UserError(f"cannot write to {artifacts.address}: {error}") from error


@dataclass(frozen=True)
class FolderArtifacts:
    """Files in a folder, with a subfolder for each trial.

    Attributes:
        folder: the folder; created by the first write.
        is_ours: whether it is removed when it is empty; a folder that the user named is not.
    """

    folder: Path
    is_ours: bool = False

    @property
    def address(self) -> str:
        """Absolute path of the folder."""
        return str(self.folder.absolute())

    def slot(self, key: str, name: str) -> FileSlot:
        """As `Artifacts`."""
        return FileSlot(self.folder / key / name)

    def sweep(self, key: str, kept: Collection[str] = KEPT) -> None:
        """As `Artifacts`; also removes partly written files."""
        for path in (self.folder / key).glob("*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)  # another process may sweep too
        with suppress(OSError):  # not empty, or not there
            (self.folder / key).rmdir()
            if self.is_ours:
                self.folder.rmdir()


class RemoteArtifacts:
    """Files at an `fsspec` URL.

    Args:
        address: the URL.

    Raises:
        UserError: if fsspec or the package for this kind of URL is not installed, or the URL is
            invalid.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        with _explained(f"cannot use the artifacts at {address}", UserError):
            self._files, self._root = _file_system(self.address)

    def slot(self, key: str, name: str) -> RemoteSlot:
        """As `Artifacts`."""
        return RemoteSlot(self._files, f"{self._root}/{key}/{name}", f"{self.address}/{key}/{name}")

    def sweep(self, key: str, kept: Collection[str] = KEPT) -> None:
        """As `Artifacts`."""
        folder = f"{self._root}/{key}"
        with _explained(f"cannot remove files in {self.address}/{key}", FatalError):
            self._files.invalidate_cache()
            if not self._files.exists(folder):
                return
            paths = self._files.ls(folder, detail=False)
            swept = [path for path in paths if path.rpartition("/")[2] not in kept]
            for path in swept:
                self._files.rm_file(path)
            if len(swept) == len(paths):
                with suppress(FileNotFoundError):  # object stores have no empty folders
                    self._files.rmdir(folder)


@dataclass(frozen=True)
class RemoteSlot:
    """A file at an `fsspec` URL; it is read and written through a temporary copy.

    Attributes:
        files: the file system.
        path: path of the file in the file system.
        url: URL of the file, for messages.
    """

    files: Any
    path: str
    url: str

    def exists(self) -> bool:
        """As `Slot`."""
        with _explained(f"cannot look for {self.url}", FatalError):
            self.files.invalidate_cache()  # another process may have written it
            return bool(self.files.exists(self.path))

    @contextmanager
    def reading(self) -> Iterator[Path]:
        """As `Slot`."""
        with _temporary() as path:
            with _explained(f"cannot read {self.url}", UserError):
                self.files.get_file(self.path, str(path))
            yield path

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """As `Slot`. The file is uploaded under another name and renamed when it is complete."""
        with _temporary() as path:
            yield path
            with _explained(f"cannot write {self.url}", FatalError):
                self.files.makedirs(self.path.rpartition("/")[0], exist_ok=True)
                part = f"{self.path}.{uuid.uuid4().hex}"
                self.files.put_file(str(path), part)
                self.files.mv(part, self.path)

    def remove(self) -> None:
        """As `Slot`."""
        with _explained(f"cannot remove {self.url}", FatalError):
            if self.files.exists(self.path):
                self.files.rm_file(self.path)


def fetch(key: str, name: str, source: Artifacts, target: Artifacts) -> None:
    """Copy a file from one location to another if it exists."""
    slot = source.slot(key, name)
    if slot.exists():
        with slot.reading() as there, target.slot(key, name).writing() as here:
            shutil.copyfile(there, here)


def _file_system(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UserError(f"artifacts at {address} need fsspec: {to_install('cluster')}") from None
    files, root = url_to_fs(address)
    return files, root.rstrip("/")


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="recollect-") as folder:
        yield Path(folder) / "artifact"


@contextmanager
def _explained(what: str, kind: type[Exception]) -> Iterator[None]:
    """Convert errors of the file system, which have no common base class, to our own."""
    try:
        yield
    except (UserError, FatalError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise kind(f"{what}: {reason}") from error
