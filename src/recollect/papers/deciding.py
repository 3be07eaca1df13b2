"""Further runs for undecided claims: more seeds, all learning rates on every seed, more steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, product
from typing import TYPE_CHECKING, Any

from recollect.analysis.sign_test import FEW_SEEDS, MOST_SEEDS
from recollect.studies.best_rate import BestRateSearch
from recollect.studies.rate_range import RangeSearch
from recollect.studies.search import AnySearch, FixedGrid
from recollect.studies.study import Study
from recollect.studies.widths import narrower

if TYPE_CHECKING:
    from recollect.papers.cell_results import CellResults
    from recollect.papers.claims import Finding

DECIDE, RATES, LONGER = "-decide", "-rates", "-longer"
"""Endings of the names of studies with more seeds, with all rates on every seed, and with more
steps."""
TWICE = 2
"""Times the steps that the last of these have."""
MORE_SEEDS = (271, 314, 577, 1009, 1618, 1729, 2718, 4104, 6174, 8128)
"""Seeds to add to a study, in this fixed order, so that nobody can choose among them."""
PER_DECADE = 2
"""The fewest rates per decade of a full range."""


def deciding(study: Study) -> Study:
    """The study with as many seeds as a verdict may use; trials are shared by key."""
    seeds = _seeds(study, MOST_SEEDS)
    return study.replace(name=f"{study.name}{DECIDE}", seeds=seeds)


def with_all_rates(study: Study) -> Study:
    """The study with all rates of the full range on at least five seeds; trials share keys."""
    return study.replace(
        name=f"{study.name}{RATES}",
        seeds=_seeds(study, FEW_SEEDS),
        search=_all_rates(study.search),
        variants=[
            way.replace(search=_all_rates(way.search)) if way.search else way
            for way in study.variants
        ],
        observe=False,
    )


def with_more_steps(study: Study) -> Study:
    """The study with twice the steps, which show whether a model needs only more of them."""
    return study.replace(
        name=f"{study.name}{LONGER}",
        train=study.train.replace(**_twice({"steps": study.train.steps})),
        train_overrides={task: _twice(own) for task, own in study.train_overrides.items()},
        variants=[way.replace(train=_twice(way.train)) for way in study.variants],
        observe=False,
    )


def extensions(study: Study) -> tuple[Study, Study, Study, Study]:
    """The studies that may be run to decide claims about a study: more seeds; all rates, on few
    seeds and on all; more steps."""
    extended = deciding(study)
    return extended, with_all_rates(study), with_all_rates(extended), with_more_steps(study)


def more_runs(
    studies: Iterable[Study], findings: Iterable[Finding]
) -> Iterator[tuple[Study, Study]]:
    """Yield parts of studies that could decide undecided claims, each with its whole study."""
    listed = list(findings)
    for study in studies:
        extended, all_rates, all_rates_extended, longer = extensions(study)
        few = len(all_rates.seeds)
        more_rates = [more for each in listed for more in each.more_rates]
        for whole, wanted in (
            (extended, [cell for each in listed for cell in each.more_seeds]),
            (all_rates, [cell for cell, seeds in more_rates if seeds <= few]),
            (all_rates_extended, [cell for cell, seeds in more_rates if seeds > few]),
            (longer, [cell for each in listed for cell in each.more_steps]),
        ):
            for labels in _by_task(cell for cell in wanted if cell.study == study.name):
                yield narrowed(whole, labels), whole


def narrowed(study: Study, labels: Iterable[str]) -> Study:
    """Restrict a study to the cells with these labels.

    Narrower cells from which their search starts are kept too, so that the search chooses the same
    rates.
    """
    every, labels = study.cells(), {*labels}
    before = narrower(every)
    for cell in sorted(every, key=lambda cell: -cell.d_model):
        if cell.label in labels and cell.label in before:
            labels.add(before[cell.label].label)
    kept = [cell for cell in every if cell.label in labels]
    tasks = {cell.task for cell in kept}
    trained = zip(every, product(study.tasks, study.models, study.ways), strict=True)
    models = [model for cell, (_, model, _) in trained if cell in kept]
    return study.replace(
        tasks=[task for task in study.tasks if task.label in tasks],
        models=[model for model in study.models if model in models],
        train_overrides={task: own for task, own in study.train_overrides.items() if task in tasks},
    )


def _twice(train: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of training with twice the steps, if they have steps."""
    more = {"steps": TWICE * train["steps"]} if "steps" in train else {}
    return {**train, **more}


def _all_rates(search: AnySearch) -> FixedGrid:
    if not isinstance(search, RangeSearch) or search.per_decade < PER_DECADE:
        search = BestRateSearch()
    first, last = search.full
    return FixedGrid(rates=[search.rate(i) for i in range(first, last + 1)])


def _seeds(study: Study, count: int) -> tuple[int, ...]:
    """The seeds of a study, extended to `count`."""
    added = [seed for seed in MORE_SEEDS if seed not in study.seeds]
    return (*study.seeds, *added[: max(0, count - len(study.seeds))])


def _by_task(cells: Iterable[CellResults]) -> list[set[str]]:
    """The labels of cells, grouped by task, because a study has every model on every task."""
    ordered = sorted(cells, key=lambda cell: cell.cell.task)
    return [
        {cell.cell.label for cell in of_task}
        for _, of_task in groupby(ordered, key=lambda cell: cell.cell.task)
    ]
