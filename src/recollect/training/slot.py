"""A place for one file, which may be far away: where a trial's checkpoint lies."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recollect.files import replacing


class Slot(Protocol):
    """A place for one file. It holds a whole file or none."""

    def exists(self) -> bool:
        """Whether the file is there."""

    def reading(self) -> AbstractContextManager[Path]:
        """The file, under a name on this machine, while the block lasts.

        Raises:
            UserError: where it is not there or cannot be read.
        """

    def writing(self) -> AbstractContextManager[Path]:
        """A name on this machine, whose file takes the place when the block ends well.

        Raises:
            FatalError: where it cannot be written.
        """

    def remove(self) -> None:
        """Remove the file, if it is there."""


@dataclass(frozen=True)
class FileSlot:
    """A file of this machine, or of a folder that several machines share.

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
    """A path is the place of a file of this machine."""
    return FileSlot(place) if isinstance(place, Path) else place
