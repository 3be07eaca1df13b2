"""Parts of a study that can be run separately, each in its own store, and then merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recollect.errors import UserError
from recollect.studies.cell import Cell
from recollect.studies.estimate import expected_work
from recollect.studies.widths import narrower


@dataclass(frozen=True)
class Part:
    """One of several parts of a study's cells, of about equal expected work.

    Attributes:
        number: number of the part, from 1.
        count: number of parts.

    Raises:
        UserError: for a number that is not from 1 to the count.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise _none(f"{self.number}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Parse `i/n`.

        Raises:
            UserError: for invalid text.
        """
        number, _, count = text.partition("/")
        if number.isdecimal() and count.isdecimal():
            return cls(int(number), int(count))
        raise _none(text)

    def of(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """Cells of this part, in their order.

        The division depends only on the cells. Cells that differ only in width stay together if
        their searches begin at the rate of a smaller width.

        Raises:
            UserError: if the cells cannot be divided into so many parts.
        """
        families = _families(cells)
        if self.count > len(families):
            raise UserError(
                f"part={self.number}/{self.count}: the study has {len(families)} groups of cells"
                " that can be run separately (cells that differ only in width may belong"
                f" together): use at most {len(families)} parts"
            )
        loads = [0.0] * self.count
        chosen: set[str] = set()
        # the largest family first, each to the part with the least work so far
        for family in sorted(families, key=lambda family: -_work(family)):
            part = loads.index(min(loads))
            loads[part] += _work(family)
            if part == self.number - 1:
                chosen |= {cell.label for cell in family}
        return tuple(cell for cell in cells if cell.label in chosen)


def as_part(given: tuple[int, int]) -> Part:
    """Convert a pair (i, n) to a part.

    Raises:
        UserError: for an invalid pair.
    """
    is_pair = isinstance(given, tuple | list) and len(given) == 2
    if not is_pair or not all(type(number) is int for number in given):
        raise UserError(f"part={given!r}: expected (i, n), such as (1, 8) for the first of eight")
    return Part(*given)


def _none(text: str) -> UserError:
    return UserError(f"part={text!r}: expected i/n, such as 1/8 for the first of eight parts")


def _families(cells: Sequence[Cell]) -> list[list[Cell]]:
    narrow = narrower(cells)
    families: dict[str, list[Cell]] = {}
    for cell in cells:
        smallest = cell
        while smallest.label in narrow:
            smallest = narrow[smallest.label]
        families.setdefault(smallest.label, []).append(cell)
    return list(families.values())


def _work(family: Sequence[Cell]) -> float:
    return sum(map(expected_work, family))
