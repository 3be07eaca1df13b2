"""A figure or table of a paper as studies or language models, with its published numbers and
claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from recollect.errors import UserError
from recollect.papers.cell_results import Metric
from recollect.papers.claims import Claim, Finding
from recollect.papers.language_plan import LanguagePlan
from recollect.papers.language_results import read_results
from recollect.papers.results import PaperResults
from recollect.papers.scale import DEFAULT_SCALE, LANGUAGE_SCALES, QUICK, SCALES
from recollect.papers.selectors import Where, check
from recollect.registry import Registry
from recollect.studies.shipped import StudyFunction
from recollect.studies.store import Store
from recollect.studies.study import Study

FigureKind = Literal["accuracy", "learning-rate", "dynamics", "scaling", "rows", "perplexity"]
"""The kind of figure, see `reports.reproduction_figures`."""


@dataclass(frozen=True)
class Published:
    """A number printed in a paper; values read from a figure do not count.

    Attributes:
        where: selects the cells that it is compared with.
        value: the number.
        unit: its unit.
        setting: the paper's description of the experiment.
        source: its place in the paper.
    """

    where: Where
    value: float
    unit: str
    setting: str
    source: str

    def __post_init__(self) -> None:
        check(self.where)


@dataclass(frozen=True)
class PrintedModel:
    """A row of a paper's table of language models; perplexities with their printed logs.

    Attributes:
        model: the name of our corresponding model.
        parameters: number of parameters in millions.
        overall: perplexity on all tokens.
        hits: perplexity on AR hits.
        other: perplexity on all other tokens.
        gap_share: share of the gap to attention that lies on AR hits; None: not printed.
    """

    model: str
    parameters: int
    overall: tuple[float, float]
    hits: tuple[float, float]
    other: tuple[float, float]
    gap_share: float | None = None


PlanFunction = Callable[[str, str | None], tuple[LanguagePlan, ...]]
"""Takes a scale and the user's text, if any; returns a plan for each group of compared models."""


@dataclass(frozen=True)
class LanguageModels:
    """The language models of a reproduction.

    Attributes:
        plans: gives the plans of a scale.
        printed: rows of the paper's tables.
    """

    plans: PlanFunction
    printed: tuple[PrintedModel, ...]


@dataclass(frozen=True)
class Unpublished:
    """A setting that is neither in the paper nor in its authors' code.

    Attributes:
        setting: the setting.
        taken: what is used instead; None: the paper's scale cannot be run.
    """

    setting: str
    taken: str | None = None

    def __str__(self) -> str:
        return f"{self.setting} ({self.taken})" if self.taken else self.setting


@dataclass(frozen=True)
class Reproduction:
    """A figure or table of a paper.

    Attributes:
        name: its name on the command line.
        title: what it shows, in one line.
        paper: authors, year and arXiv id.
        place: its place in the paper.
        functions: give its studies for a scale.
        claims: the paper's claims about it.
        differs: how the laptop's scale differs from the paper's, in a sentence.
        figure: the kind of figure.
        language: its language models, in place of studies.
        metric: the column of `trials_frame` that the paper reports.
        published: printed numbers.
        unpublished: settings of the paper's scale that were not published.
        further_scales: scales that only this reproduction has.
        is_quick: True if it belongs to the scale "quick", a part of the laptop's scale.
    """

    name: str
    title: str
    paper: str
    place: str
    functions: tuple[StudyFunction, ...]
    claims: tuple[Claim, ...]
    differs: str
    figure: FigureKind
    language: LanguageModels | None = None
    metric: Metric = "test_accuracy"
    published: tuple[Published, ...] = ()
    unpublished: tuple[Unpublished, ...] = ()
    further_scales: tuple[str, ...] = ()
    is_quick: bool = False

    @property
    def scales(self) -> tuple[str, ...]:
        """The scales that it has."""
        shared = SCALES if self.language is None else LANGUAGE_SCALES
        quick = (QUICK,) if self.is_quick else ()
        return (*quick, *shared, *self.further_scales)

    def check_scale(self, scale: str) -> None:
        """Check that it has a scale.

        Raises:
            UserError: if it does not.
        """
        if scale not in self.scales:
            raise UserError(
                f"unknown scale {scale!r} of {self.name}: it has {', '.join(self.scales)}"
            )

    def check(self, scale: str, text: str | None = None) -> None:
        """Check the scale and the text without opening the text.

        Raises:
            UserError: for an unknown scale, a text that is not used, or a text that is missing.
        """
        self.check_scale(scale)
        if text is not None and self.language is None:
            raise UserError(f"--text {text}: {self.name} uses no text, only a synthetic task")
        self.plans(scale, text)

    def obstacles(self, scale: str) -> tuple[str, ...]:
        """The unpublished settings that prevent a run at this scale."""
        self.check_scale(scale)
        if scale != "paper":
            return ()
        return tuple(each.setting for each in self.unpublished if each.taken is None)

    def studies(self, scale: str) -> tuple[Study, ...]:
        """Its studies at a scale; empty if it cannot be run."""
        if self.obstacles(scale):
            return ()
        size = DEFAULT_SCALE if scale == QUICK else scale
        return tuple(function(size) for function in self.functions)

    def plans(self, scale: str, text: str | None = None) -> tuple[LanguagePlan, ...]:
        """Its plans of language models, on the user's text if given.

        Raises:
            UserError: if a text is required but missing.
        """
        return () if self.language is None else self.language.plans(scale, text)


@dataclass(frozen=True)
class Outcome:
    """A reproduction with its stored results.

    Attributes:
        reproduction: the reproduction.
        scale: its scale.
        text: the user's text for language models, if given.
        results: the results of its studies and language models.
        findings: the findings on its claims, in their order.
    """

    reproduction: Reproduction
    scale: str
    text: str | None
    results: PaperResults
    findings: tuple[Finding, ...]

    @property
    def is_small(self) -> bool:
        """True at the laptop's scale, or a part of it."""
        return self.scale in (DEFAULT_SCALE, QUICK)


def outcome(
    reproduction: Reproduction, scale: str, store: Store, text: str | None = None
) -> Outcome:
    """Judge every claim by the stored results; runs nothing."""
    plans = reproduction.plans(scale, text)
    results = PaperResults.read(
        store,
        reproduction.studies(scale),
        history=reproduction.figure == "dynamics",
        language=tuple(read_results(plan, store.path) for plan in plans),
    )
    obstacles = reproduction.obstacles(scale)
    if obstacles:
        reason = f"not published: {'; '.join(obstacles)}"
        findings = tuple(claim.not_run(reason) for claim in reproduction.claims)
    else:
        findings = tuple(claim.finding(results) for claim in reproduction.claims)
    return Outcome(reproduction, scale, text, results, findings)


REPRODUCTIONS: Registry[Reproduction] = Registry("reproduction", "recollect.papers")


def register_reproduction(reproduction: Reproduction) -> Reproduction:
    """Register a reproduction under its name."""
    REPRODUCTIONS.add(reproduction.name, reproduction)
    return reproduction
