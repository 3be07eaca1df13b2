"""A figure or table of a paper as studies, or as language models that are trained on a text, with
the published numbers and claims beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from recollect.errors import UserError
from recollect.papers.cell_results import Metric
from recollect.papers.claims import Claim, Finding
from recollect.papers.language_plan import LanguagePlan
from recollect.papers.language_results import read_results
from recollect.papers.results import Results
from recollect.papers.scale import LANGUAGE_SCALES, QUICK, SCALES
from recollect.papers.selectors import Where, check
from recollect.registry import Registry
from recollect.studies.shipped import StudyFunction
from recollect.studies.store import Store
from recollect.studies.study import Study

FigureKind = Literal["accuracy", "learning-rate", "dynamics", "scaling", "rows", "perplexity"]
"""Which of the figures of `reports.reproduction_figures` shows it."""


@dataclass(frozen=True)
class Published:
    """A number that is printed in a paper; what is only drawn in a figure is none.

    Attributes:
        where: selects the cells that it stands beside.
        value: the number.
        unit: of the number.
        setting: what the paper says that it was measured on.
        source: where it is printed.
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
    """A row of a paper's table of language models; perplexities each with the log printed beside.

    Attributes:
        model: what stands for it among ours.
        parameters: in millions.
        overall: perplexity on all tokens.
        hits: on AR hits.
        other: on all other tokens.
        gap_share: share of the gap to attention that lies on AR hits; None: not printed.
    """

    model: str
    parameters: int
    overall: tuple[float, float]
    hits: tuple[float, float]
    other: tuple[float, float]
    gap_share: float | None = None


PlanFunction = Callable[[str, str | None], tuple[LanguagePlan, ...]]
"""Returns what is trained at a scale, each group of models that are compared a plan of its own; on
the text that the user names, if any."""


@dataclass(frozen=True)
class LanguageModels:
    """What a reproduction has language models for.

    Attributes:
        plans: what is trained.
        printed: rows of the paper's tables.
    """

    plans: PlanFunction
    printed: tuple[PrintedModel, ...]


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
        language: the language models that it needs in place of studies.
        metric: the column of `trials_frame` that the paper reports.
        published: printed numbers.
        unpublished: settings of the paper's scale that nobody printed.
        further_scales: those that it alone can be asked for.
        is_quick: whether it can be asked for at the scale "quick", which is the laptop's.
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
        """At which sizes it can be asked for."""
        shared = SCALES if self.language is None else LANGUAGE_SCALES
        quick = (QUICK,) if self.is_quick else ()
        return (*quick, *shared, *self.further_scales)

    def check_scale(self, scale: str) -> None:
        """See whether it has such a scale.

        Raises:
            UserError: if it has not.
        """
        if scale not in self.scales:
            raise UserError(
                f"unknown scale {scale!r} of {self.name}: it has {', '.join(self.scales)}"
            )

    def check(self, scale: str, text: str | None = None) -> None:
        """See whether it can be asked for so; opens no text.

        Raises:
            UserError: for an unknown scale, a text where none is read, or none where one is needed.
        """
        self.check_scale(scale)
        if text is not None and self.language is None:
            raise UserError(f"--text {text}: {self.name} makes up what its models read")
        self.plans(scale, text)

    def obstacles(self, scale: str) -> tuple[str, ...]:
        """The settings for want of which it cannot be run at a scale."""
        self.check_scale(scale)
        if scale != "paper":
            return ()
        return tuple(each.setting for each in self.unpublished if each.taken is None)

    def studies(self, scale: str) -> tuple[Study, ...]:
        """All of them; none where there are obstacles."""
        if self.obstacles(scale):
            return ()
        size = "laptop" if scale == QUICK else scale
        return tuple(function(size) for function in self.functions)

    def plans(self, scale: str, text: str | None = None) -> tuple[LanguagePlan, ...]:
        """The language models, on a text of the user's if one is named.

        Raises:
            UserError: where one must be.
        """
        return () if self.language is None else self.language.plans(scale, text)


@dataclass(frozen=True)
class Outcome:
    """A reproduction as it is stored.

    Attributes:
        reproduction: what was to be shown.
        scale: at which size.
        text: what language models read, if the user named it.
        results: of its studies and language models.
        findings: of its claims, in their order.
    """

    reproduction: Reproduction
    scale: str
    text: str | None
    results: Results
    findings: tuple[Finding, ...]

    @property
    def is_small(self) -> bool:
        """Whether it is the question shrunk to a laptop."""
        return self.scale in ("laptop", QUICK)


def outcome(
    reproduction: Reproduction, scale: str, store: Store, text: str | None = None
) -> Outcome:
    """Judge every claim by what is stored; nothing is run."""
    plans = reproduction.plans(scale, text)
    results = Results.read(
        store,
        reproduction.studies(scale),
        history=reproduction.figure == "dynamics",
        language=tuple(read_results(plan, store.path) for plan in plans),
    )
    obstacles = reproduction.obstacles(scale)
    if obstacles:
        reason = f"unpublished: {'; '.join(obstacles)}"
        findings = tuple(claim.not_run(reason) for claim in reproduction.claims)
    else:
        findings = tuple(claim.finding(results) for claim in reproduction.claims)
    return Outcome(reproduction, scale, text, results, findings)


REPRODUCTIONS: Registry[Reproduction] = Registry("reproduction", "recollect.papers")


def register_reproduction(reproduction: Reproduction) -> Reproduction:
    """Ship it under its name."""
    REPRODUCTIONS.add(reproduction.name, reproduction)
    return reproduction
