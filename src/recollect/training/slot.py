"""The place of one file that a trial goes on from or leaves; it may be far away."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recollect.files import replacing


class Slot(Protocol):
    """The place of a file, which may or may not be there."""

    def exists(self) -> bool:
        """Whether the file is there."""

    def reading(self) -> AbstractContextManager[Path]:
        """The file on this machine, for the length of the block.

        Raises:
            UserError: where it cannot be fetched.
        """

    def writing(self) -> AbstractContextManager[Path]:
        """Where on this machine the block writes the file, which takes its place as a whole when
        the block ends well. If the block fails, what was there stays.

        Raises:
            FatalError: where it cannot be written.
        """

    def remove(self) -> None:
        """Remove the file, if it is there."""


@dataclass(frozen=True)
class FileSlot:
    """A file of this machine.

    Attributes:
        path: of the file.
    """

    path: Path

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def reading(self) -> AbstractContextManager[Path]:
        """The file itself."""
        return nullcontext(self.path)

    def writing(self) -> AbstractContextManager[Path]:
        """A temporary name beside the file."""
        return replacing(self.path)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)
