"""Claims of papers as data: a sentence, the parts that it comes down to, and what results say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from recollect.papers.measured import Measured, NotMeasured

if TYPE_CHECKING:
    from recollect.papers.cell_results import CellResults
    from recollect.papers.results import Results

LEVEL = 0.05
"""How often at most a claim that is false is said to be reproduced, unless the claim says else."""

Verdict = Literal["reproduced", "contradicted", "undecided", "not run"]
State = Literal["established", "contradicted", "undecided", "not run"]


@dataclass(frozen=True)
class PartFinding:
    """What results say of a part of a claim.

    Attributes:
        state: whether the part, or its converse, is established; "not run" without results.
        evidence: the measured numbers in a sentence, or what is missing.
        measured: these numbers by name, each with its spread.
        decides: where the part is undecided, what would decide it.
        more_seeds: the cells whose further seeds could decide it.
        more_rates: the cells of which all rates on every seed could, each with the number of seeds.
    """

    state: State
    evidence: str
    measured: Mapping[str, Measured] = field(default_factory=dict)
    decides: str = ""
    more_seeds: tuple[CellResults, ...] = ()
    more_rates: tuple[tuple[CellResults, int], ...] = ()


class Statement(Protocol):
    """Something that results can establish or contradict."""

    @property
    def sentence(self) -> str:
        """What is tested, said before anything is run."""

    @property
    def why(self) -> str:
        """The reason for its margin."""

    def record(self) -> dict[str, Any]:
        """Everything about it as plain values, for JSON."""

    def judge(self, results: Results, level: float, converse_level: float) -> PartFinding:
        """Hold results against it.

        Args:
            results: what is stored.
            level: of the test that establishes it.
            converse_level: of the test that establishes its converse.

        Raises:
            NotMeasured: if what it needs is not there.
        """


@dataclass(frozen=True)
class Finding:
    """What results say of a claim.

    Attributes:
        verdict: reproduced if every part is established; contradicted if the converse of one is.
        parts: what they say of each part.
    """

    verdict: Verdict
    parts: tuple[PartFinding, ...]

    @property
    def evidence(self) -> str:
        """That of the parts, each once."""
        return "; ".join(dict.fromkeys(part.evidence for part in self.parts))

    @property
    def measured(self) -> dict[str, Measured]:
        """The numbers of all parts."""
        return {name: number for part in self.parts for name, number in part.measured.items()}

    @property
    def decides(self) -> str:
        """What would decide an undecided claim."""
        if self.verdict != "undecided":
            return ""
        return "; ".join(dict.fromkeys(part.decides for part in self.parts if part.decides))

    @property
    def more_seeds(self) -> tuple[CellResults, ...]:
        """The cells whose further seeds could decide an undecided claim."""
        if self.verdict != "undecided":
            return ()
        return tuple(cell for part in self.parts for cell in part.more_seeds)

    @property
    def more_rates(self) -> tuple[tuple[CellResults, int], ...]:
        """The cells of which all rates on every seed could, each with the number of seeds."""
        if self.verdict != "undecided":
            return ()
        return tuple(more for part in self.parts for more in part.more_rates)


@dataclass(frozen=True)
class Claim:
    """Something that a paper says and an experiment can bear out or contradict.

    Attributes:
        name: for programs, unique within its reproduction.
        sentence: what is claimed.
        source: where.
        parts: what it comes down to; all of them must hold.
        level: how often at most it is said to be reproduced if it is false.
        left_out: what was measured and is not judged, each with the reason.
    """

    name: str
    sentence: str
    source: str
    parts: tuple[Statement, ...]
    level: float = LEVEL
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError(f"{self.name}: parts=(): expected at least one, which can be tested")

    @property
    def converse_level(self) -> float:
        """At which the converse of each part is tested."""
        return self.level / len(self.parts)

    def finding(self, results: Results) -> Finding:
        """What these results say of it.

        A true claim is contradicted at most as often as a false one is reproduced: each converse is
        tested at the level divided by the number of parts.
        """
        parts = tuple(self._judged(part, results) for part in self.parts)
        return Finding(_verdict({part.state for part in parts}), parts)

    def not_run(self, reason: str) -> Finding:
        """The finding where there is a reason for which it cannot be run."""
        return Finding("not run", (PartFinding("not run", reason),))

    def _judged(self, part: Statement, results: Results) -> PartFinding:
        try:
            return part.judge(results, self.level, self.converse_level)
        except NotMeasured as missing:
            return PartFinding("not run", str(missing))


def _verdict(states: set[State]) -> Verdict:
    if states == {"established"}:
        return "reproduced"
    for verdict in ("contradicted", "not run"):
        if verdict in states:
            return verdict
    return "undecided"
