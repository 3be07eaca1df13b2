"""A figure or table of a paper as studies, with the published numbers and claims beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recollect.papers.claims import Claim, Finding
from recollect.papers.results import Results
from recollect.papers.scale import is_paper
from recollect.registry import Registry
from recollect.studies.store import Store
from recollect.studies.study import Study, StudyFunction

FigureKind = Literal["accuracy", "learning-rate", "dynamics", "scaling", "rows"]
"""Which of the figures of `reports.reproduction_figures` shows it."""


@dataclass(frozen=True)
class Published:
    """A number that is printed in a paper; what is only drawn in a figure is none.

    Attributes:
        where: settings of the cells that it stands beside, as `Results.select` takes them.
        value: the number.
        unit: of the number.
        setting: what the paper says that it was measured on.
        source: where it is printed.
    """

    where: Mapping[str, Any]
    value: float
    unit: str
    setting: str
    source: str


@dataclass(frozen=True)
class Unpublished:
    """A setting that is neither in the paper nor in its authors' code.

    Attributes:
        setting: which.
        taken: what stands in its place; None: nothing can, and the paper's scale is not run.
    """

    setting: str
    taken: str | None = None

    def __str__(self) -> str:
        return f"{self.setting} ({self.taken})" if self.taken else self.setting


@dataclass(frozen=True)
class Reproduction:
    """A figure or table of a paper.

    Attributes:
        name: what users type.
        title: what it shows, in a line.
        paper: authors, year and arXiv id.
        place: of the paper.
        functions: the studies that it needs, by scale.
        claims: what is to be seen.
        differs: how the laptop's scale differs from the paper's, in a sentence.
        figure: how it is drawn.
        metric: the column of `trials_frame` that the paper reports.
        published: printed numbers.
        unpublished: settings of the paper's scale that nobody printed.
    """

    name: str
    title: str
    paper: str
    place: str
    functions: tuple[StudyFunction, ...]
    claims: tuple[Claim, ...]
    differs: str
    figure: FigureKind
    metric: Literal["test_accuracy", "test_example_accuracy"] = "test_accuracy"
    published: tuple[Published, ...] = ()
    unpublished: tuple[Unpublished, ...] = ()

    def obstacles(self, scale: str) -> tuple[str, ...]:
        """The settings for want of which it cannot be run at a scale."""
        if not is_paper(self.name, scale):
            return ()
        return tuple(each.setting for each in self.unpublished if each.taken is None)

    def studies(self, scale: str) -> tuple[Study, ...]:
        """All of them; none where there are obstacles."""
        if self.obstacles(scale):
            return ()
        return tuple(function(scale) for function in self.functions)


@dataclass(frozen=True)
class Outcome:
    """A reproduction as a store has it.

    Attributes:
        reproduction: what was to be shown.
        scale: at which size.
        results: of its studies.
        findings: of its claims, in their order.
    """

    reproduction: Reproduction
    scale: str
    results: Results
    findings: tuple[Finding, ...]


def outcome(reproduction: Reproduction, scale: str, store: Store) -> Outcome:
    """Judge every claim by what is stored; nothing is run."""
    results = Results.read(
        store, reproduction.studies(scale), history=reproduction.figure == "dynamics"
    )
    obstacles = reproduction.obstacles(scale)
    if obstacles:
        unpublished = Finding("not run", f"unpublished: {'; '.join(obstacles)}")
        findings = tuple(unpublished for _ in reproduction.claims)
    else:
        findings = tuple(claim.finding(results) for claim in reproduction.claims)
    return Outcome(reproduction, scale, results, findings)


REPRODUCTIONS: Registry[Reproduction] = Registry("reproduction", "recollect.papers")


def register_reproduction(reproduction: Reproduction) -> Reproduction:
    """Ship it under its name."""
    REPRODUCTIONS.add(reproduction.name, reproduction)
    return reproduction
