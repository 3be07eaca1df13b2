"""Token ids in consecutive, named ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """Token ids from 0 on, in named ranges.

    Attributes:
        sizes: number of ids in each range; a range of one id is a mark, spelled by its name.
    """

    sizes: Mapping[str, int]

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def __getitem__(self, name: str) -> int:
        """Return the first id of a range."""
        names = list(self.sizes)
        return sum(self.sizes[each] for each in names[: names.index(name)])

    def spell(self, token: int) -> str:
        """Return `v3` for the fourth id of the range "v", or the name of a mark."""
        place = token
        for name, size in self.sizes.items():
            if place < size:
                return name if size == 1 else f"{name}{place}"
            place -= size
        raise IndexError(f"token {token} of {len(self)}")
