"""The location of one local or remote file, such as a trial's checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recollect.files import replacing


class Slot(Protocol):
    """The location of one file. It holds a complete file or none."""

    def exists(self) -> bool:
        """Whether the file exists."""

    def reading(self) -> AbstractContextManager[Path]:
        """Context with a local path from which the file can be read.

        Raises:
            UserError: if it is missing or cannot be read.
        """

    def writing(self) -> AbstractContextManager[Path]:
        """Context with a local path to write to; a block that ends without error replaces the file.

        Raises:
            FatalError: if it cannot be written.
        """

    def remove(self) -> None:
        """Remove the file if it exists."""


@dataclass(frozen=True)
class FileSlot:
    """A file on this machine or in a folder that several machines share.

    Attributes:
        path: the file.
    """

    path: Path

    def exists(self) -> bool:
        """As `Slot`."""
        return self.path.exists()

    def reading(self) -> AbstractContextManager[Path]:
        """As `Slot`."""
        return nullcontext(self.path)

    def writing(self) -> AbstractContextManager[Path]:
        """As `Slot`."""
        return replacing(self.path)

    def remove(self) -> None:
        """As `Slot`."""
        self.path.unlink(missing_ok=True)


def as_slot(place: Slot | Path) -> Slot:
    """Convert a path to a slot."""
    return FileSlot(place) if isinstance(place, Path) else place
