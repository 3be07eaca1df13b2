"""Claims of papers as data: a sentence, its testable parts, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from recollect.papers.measured import MeasuredNumber, NotMeasured

if TYPE_CHECKING:
    from recollect.papers.cell_results import CellResults
    from recollect.papers.results import PaperResults

LEVEL = 0.05
"""Default level: the largest probability of calling a false claim reproduced."""

Verdict = Literal["reproduced", "contradicted", "undecided", "not run"]
State = Literal["established", "contradicted", "undecided", "not run"]


@dataclass(frozen=True)
class PartFinding:
    """The verdict on a part of a claim.

    Attributes:
        state: "established", or "contradicted" if its converse is established, or "undecided";
            "not run" without results.
        sentences: the measured numbers, a sentence for each comparison; or what is missing.
        measured: these numbers by name, each with its spread.
        cells: the cells of each number by its name, of undefined numbers too; empty for language
            models.
        decides: what would decide an undecided part.
        more_seeds: cells for which more seeds could decide it.
        more_rates: cells for which all rates on every seed could decide it, each with the number of
            seeds.
        more_steps: cells for which a search with twice the steps could decide it.
    """

    state: State
    sentences: tuple[str, ...]
    measured: Mapping[str, MeasuredNumber] = field(default_factory=dict)
    cells: Mapping[str, tuple[CellResults, ...]] = field(default_factory=dict)
    decides: str = ""
    more_seeds: tuple[CellResults, ...] = ()
    more_rates: tuple[tuple[CellResults, int], ...] = ()
    more_steps: tuple[CellResults, ...] = ()

    @property
    def evidence(self) -> str:
        """The sentences in one line."""
        return "; ".join(self.sentences)


class Statement(Protocol):
    """A statement that results can establish or contradict."""

    @property
    def sentence(self) -> str:
        """What is tested; known before anything is run."""

    @property
    def why(self) -> str:
        """The reason for the margin."""

    def record(self) -> dict[str, Any]:
        """The statement as plain values, for JSON."""

    def judge(self, results: PaperResults, level: float, converse_level: float) -> PartFinding:
        """Test the statement.

        Args:
            results: the stored results.
            level: the level of the test that establishes it.
            converse_level: the level of the test that establishes its converse.

        Raises:
            NotMeasured: if results that it needs are missing.
        """


@dataclass(frozen=True)
class Finding:
    """The verdict on a claim.

    Attributes:
        verdict: "reproduced" if every part is established, "contradicted" if the converse of a part
            is established.
        parts: the verdicts on its parts.
    """

    verdict: Verdict
    parts: tuple[PartFinding, ...]

    @property
    def evidence(self) -> str:
        """The evidence of all parts, each sentence once."""
        return "; ".join(dict.fromkeys(part.evidence for part in self.parts))

    @property
    def measured(self) -> dict[str, MeasuredNumber]:
        """The numbers of all parts."""
        return {name: number for part in self.parts for name, number in part.measured.items()}

    @property
    def cells(self) -> dict[str, tuple[CellResults, ...]]:
        """The cells of all numbers, undefined ones included."""
        return {name: cells for part in self.parts for name, cells in part.cells.items()}

    @property
    def decides(self) -> str:
        """What would decide an undecided claim."""
        if self.verdict != "undecided":
            return ""
        return "; ".join(dict.fromkeys(part.decides for part in self.parts if part.decides))

    @property
    def more_seeds(self) -> tuple[CellResults, ...]:
        """Cells for which more seeds could decide an undecided claim."""
        if self.verdict != "undecided":
            return ()
        return tuple(cell for part in self.parts for cell in part.more_seeds)

    @property
    def more_rates(self) -> tuple[tuple[CellResults, int], ...]:
        """Cells for which all rates on every seed could decide it, with the number of seeds."""
        if self.verdict != "undecided":
            return ()
        return tuple(more for part in self.parts for more in part.more_rates)

    @property
    def more_steps(self) -> tuple[CellResults, ...]:
        """Cells for which a search with twice the steps could decide it."""
        if self.verdict != "undecided":
            return ()
        return tuple(cell for part in self.parts for cell in part.more_steps)


@dataclass(frozen=True)
class Claim:
    """A claim of a paper that an experiment can reproduce or contradict.

    Attributes:
        name: an identifier, unique within its reproduction.
        sentence: the claim.
        source: its place in the paper.
        parts: the statements that must all hold.
        level: the largest probability of calling it reproduced if it is false.
        left_out: measurements that are not judged, each with the reason.
    """

    name: str
    sentence: str
    source: str
    parts: tuple[Statement, ...]
    level: float = LEVEL
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError(f"{self.name}: parts=(): expected at least one statement to test")

    @property
    def converse_level(self) -> float:
        """The level at which the converse of each part is tested."""
        return self.level / len(self.parts)

    def finding(self, results: PaperResults) -> Finding:
        """Judge the claim by results.

        Each converse is tested at the level divided by the number of parts. So a true claim is
        contradicted at most as often as a false one is reproduced.
        """
        parts = tuple(self._judged(part, results) for part in self.parts)
        return Finding(_verdict({part.state for part in parts}), parts)

    def not_run(self, reason: str) -> Finding:
        """The finding for a claim that cannot be run, with the reason."""
        return Finding("not run", (PartFinding("not run", (reason,)),) * len(self.parts))

    def _judged(self, part: Statement, results: PaperResults) -> PartFinding:
        try:
            return part.judge(results, self.level, self.converse_level)
        except NotMeasured as missing:
            return PartFinding("not run", (str(missing),))


def _verdict(states: set[State]) -> Verdict:
    if states == {"established"}:
        return "reproduced"
    for verdict in ("contradicted", "not run"):
        if verdict in states:
            return verdict
    return "undecided"
