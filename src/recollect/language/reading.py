"""How a text was read: shown to the user, so that no format is guessed in silence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

NAMED = 3
"""Skipped files that are named for each reason."""


class Skipped(NamedTuple):
    """A file of a folder that is not read, and the reason in a few words."""

    name: str
    reason: str


@dataclass(frozen=True)
class Reading:
    """How a text was read; as a string, in a line.

    Attributes:
        documents: how many of each format.
        files: how many were read; 0 for a text that is not made of files.
        left_out: rows without a text.
        skipped: files of a folder that hold no text.
    """

    documents: Mapping[str, int]
    files: int = 0
    left_out: int = 0
    skipped: tuple[Skipped, ...] = ()

    def __str__(self) -> str:
        counts = [f"{form} {count:,}" for form, count in sorted(self.documents.items())]
        forms = ", ".join(counts if len(counts) > 1 else self.documents)
        parts = [f"{_amount(sum(self.documents.values()), 'document')} ({forms})"]
        if self.files > 1:
            parts[0] += f" in {self.files:,} files"
        if self.left_out:
            parts.append(f"{_amount(self.left_out, 'row')} without a text left out")
        if self.skipped:
            parts.append(f"skipped {_amount(len(self.skipped), 'file')}: {grouped(self.skipped)}")
        return "; ".join(parts)


def grouped(skipped: Sequence[Skipped]) -> str:
    """`2 binary (a.bin, b.png), 1 empty (c.txt)`: by reason, with the first names."""
    names: dict[str, list[str]] = defaultdict(list)
    for each in skipped:
        names[each.reason].append(each.name)
    return ", ".join(
        f"{len(some):,} {reason} ({', '.join(some[:NAMED])}{', ...' * (len(some) > NAMED)})"
        for reason, some in names.items()
    )


def _amount(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"
