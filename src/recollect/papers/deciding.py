"""More seeds for what few leave undecided: which, in which order, and of which models."""

from __future__ import annotations

from collections.abc import Iterable

from recollect.analysis.sign_test import MOST_SEEDS
from recollect.studies.study import Study, model_label
from recollect.studies.widths import narrower

DECIDE = "-decide"
"""What the name of a study with more seeds ends in."""
MORE_SEEDS = (271, 314, 577, 1009, 1618, 1729, 2718, 4104, 6174, 8128)
"""Added to those of a study, in this order, so that nobody chooses among them."""


def deciding(study: Study) -> Study:
    """The study with as many seeds as a verdict may take; its trials are shared by key."""
    added = [seed for seed in MORE_SEEDS if seed not in study.seeds]
    seeds = (*study.seeds, *added[: max(0, MOST_SEEDS - len(study.seeds))])
    found: Study = study.replace(name=f"{study.name}{DECIDE}", seeds=seeds)
    return found


def narrowed(study: Study, labels: Iterable[str]) -> Study:
    """The tasks and models of some cells of a study, by their labels, and what the search of their
    rates begins with, so that it chooses as before."""
    every, labels = study.cells(), {*labels}
    before = narrower(every)
    for cell in sorted(every, key=lambda cell: -cell.d_model):
        if cell.label in labels and cell.label in before:
            labels.add(before[cell.label].label)
    kept = [cell for cell in every if cell.label in labels]
    tasks = {cell.task for cell in kept}
    models = {cell.label.removeprefix(f"{cell.task} ") for cell in kept}
    found: Study = study.replace(
        tasks=[task for task in study.tasks if task.label in tasks],
        models=[model for model in study.models if model_label(model) in models],
        train_overrides={task: own for task, own in study.train_overrides.items() if task in tasks},
    )
    return found
