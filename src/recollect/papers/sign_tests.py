"""Sign tests of a comparison and its converse, and what more runs could change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from recollect.analysis.sign_test import FEW_SEEDS, deciding_look, looks
from recollect.papers.bounds import Place
from recollect.papers.cell_results import CellResults
from recollect.papers.claims import State
from recollect.papers.lines import Line

Decided = Literal["established", "contradicted"]
WAYS: tuple[tuple[Decided, Place], ...] = (("established", "right"), ("contradicted", "wrong"))


@dataclass(frozen=True, eq=False)
class SignTest:
    """Tests if the median seed is on the right side of a bound, or on the side of the converse.

    Attributes:
        line: the number and its bound.
        levels: the level of the test, and that of its converse.
    """

    line: Line
    levels: tuple[float, float]

    @cached_property
    def places(self) -> list[Place]:
        """Where each seed's number lies."""
        return self.line.places(self.line.ceilings)

    @cached_property
    def first_places(self) -> list[Place]:
        """Where the first seeds lay before further ones were added; empty if none were."""
        before = self.line.before
        return [] if before is None else before.places(before.ceilings)

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which the test is made."""
        return looks(self.line.first_seeds)

    @property
    def missing(self) -> int:
        """The number of seeds that can still be added."""
        return max(0, self.looks[-1] - len(self.places))

    @property
    def state(self) -> State:
        """What the seeds establish."""
        return self.state_of(self.places)

    @property
    def count(self) -> str:
        """The count of seeds behind the state: `5 of the first 5 seeds`."""
        state = self.state
        for (way, place), level in zip(WAYS, self.levels, strict=True):
            look = self._look(self.places, place, level)
            if look is not None and way == state:
                first = "" if look == len(self.places) else "the first "
                side = " on the other side" if place == "wrong" else ""
                seen = self.first_places if look == len(self.first_places) else self.places[:look]
                return f"{seen.count(place)} of {first}{look} seeds{side}"
        doubt = " with certainty" if "open" in self.places else ""
        return f"{self.places.count('right')} of {len(self.places)} seeds{doubt}"

    def state_of(self, places: Sequence[Place]) -> State:
        """The state that seeds at these places establish."""
        decided = [
            (look, state)
            for (state, place), level in zip(WAYS, self.levels, strict=True)
            if (look := self._look(places, place, level)) is not None
        ]
        return min(decided, key=lambda each: each[0])[1] if decided else "undecided"

    def _look(self, places: Sequence[Place], place: Place, level: float) -> int | None:
        """The number of seeds at which enough of them lie at this place; None if it never was."""
        right, first = ([each == place for each in of] for of in (places, self.first_places))
        return deciding_look(right, self.looks, level, first)

    def missing_rates(self) -> tuple[tuple[CellResults, ...], int]:
        """The fewest doubted cells for which running all rates may decide the test.

        Also returns the number of first seeds to run them on, as few as suffice. Without a
        solution, there are no cells.
        """
        doubted = self.line.doubted
        for seeds in (max(FEW_SEEDS, self.line.first_seeds), len(self.places)):
            found = self._state_given(doubted, seeds)
            if found == "undecided":
                continue
            for cell in doubted:
                fewer = tuple(each for each in doubted if each is not cell)
                if self._state_given(fewer, seeds) == found:
                    doubted = fewer
            return doubted, seeds
        return (), 0

    @property
    def may_need_longer(self) -> tuple[CellResults, ...]:
        """Doubted cells that might solve the task with a longer budget."""
        return tuple(c for c in self.line.doubted if self.line.ceilings.may_need_longer(c))

    @property
    def longer_may_establish(self) -> bool:
        """Return True if it would be established if twice the budget brought no gain."""
        more: list[Place] = ["right"] * self.missing
        return self.state_of([*self._supposing(self.line.doubted), *more]) == "established"

    @property
    def at_best(self) -> list[Place]:
        """Where seeds lie if untried rates are not better; cells of `may_need_longer` stay open."""
        longer = self.may_need_longer
        return self._supposing(tuple(cell for cell in self.line.doubted if cell not in longer))

    def can_be(self, state: Decided) -> bool:
        """Return True if `at_best` and further seeds, all on one side, would give this state."""
        place: Place = "right" if state == "established" else "wrong"
        return self.state_of([*self.at_best, *[place] * self.missing]) == state

    def _state_given(self, taken: tuple[CellResults, ...], seeds: int) -> State:
        """The state if untried rates of `taken` are not better on the first seeds."""
        return self.state_of([*self._supposing(taken)[:seeds], *self.places[seeds:]])

    def _supposing(self, taken: tuple[CellResults, ...]) -> list[Place]:
        return self.line.places(self.line.ceilings.taking(taken))
