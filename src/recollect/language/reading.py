"""Report of how a text was read, shown to the user because formats are guessed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

NAMED = 3
"""Number of skipped files that are named for each reason."""


class Skipped(NamedTuple):
    """A file that was not read, and a short reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Reading:
    """How a text was read; `str` gives one line.

    Attributes:
        documents: number of documents by format.
        files: number of files read; 0 for a text without files.
        left_out: number of rows without a text.
        skipped: files without text.
        part: the part of these documents that is used; None: all.
    """

    documents: Mapping[str, int]
    files: int = 0
    left_out: int = 0
    skipped: tuple[Skipped, ...] = ()
    part: str | None = None

    @property
    def not_read(self) -> dict[str, int]:
        """Numbers of unread files and rows: `files_skipped` and `rows_left_out`."""
        return {"files_skipped": len(self.skipped), "rows_left_out": self.left_out}

    def __str__(self) -> str:
        counts = [f"{form} {count:,}" for form, count in sorted(self.documents.items())]
        forms = ", ".join(counts if len(counts) > 1 else self.documents)
        of_part = f"{self.part} part of " if self.part else ""
        parts = [f"{of_part}{_amount(sum(self.documents.values()), 'document')} ({forms})"]
        if self.files > 1:
            parts[0] += f" in {self.files:,} files"
        if self.left_out:
            parts.append(f"{_amount(self.left_out, 'row')} without a text left out")
        if self.skipped:
            parts.append(f"skipped {_amount(len(self.skipped), 'file')}: {grouped(self.skipped)}")
        return "; ".join(parts)


def grouped(skipped: Sequence[Skipped]) -> str:
    """Text of skipped files by reason: `binary: 2 (a.bin, b.png), empty: 1 (c.txt)`."""
    names: dict[str, list[str]] = defaultdict(list)
    for each in skipped:
        names[each.reason].append(each.name)
    return ", ".join(
        f"{reason}: {len(some):,} ({', '.join(some[:NAMED])}{', ...' * (len(some) > NAMED)})"
        for reason, some in names.items()
    )


def _amount(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"
