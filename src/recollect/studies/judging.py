"""Metrics by which a study's trials are judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from recollect.errors import UserError, unknown
from recollect.studies.cell import blind_score
from recollect.tasks.metric import BUILT_IN, Metric
from recollect.training.config import TrialConfig


def guess_of(trial: TrialConfig, name: str | None) -> dict[str, float | None]:
    """Score of a model that knows nothing, as arguments of `Cell`.

    Raises:
        UserError: for a metric that the trials do not have.
    """
    task = trial.task
    further = {metric.name: metric for metric in trial.metrics_on(task)}
    if name is None:
        return {"guess_loss": task.guess_loss}
    if name == "loss":
        blind = task.guess_loss or math.log(task.vocab_size)
        return {"guess": blind_score(blind, task.marginal_loss), "guess_loss": blind}
    if name in BUILT_IN:
        return {"guess": None if name == "accuracy" else 0.0}
    if name not in further:
        raise unknown(f"metric of {task.label}", name, [*BUILT_IN, *further])
    metric = further[name]
    if not metric.lower_is_better:
        return {"guess": metric.guess}
    if metric.guess <= 0:
        raise UserError(
            f"a search that minimises {name} needs the value of a model that knows nothing:"
            " register the metric with guess=..., above 0"
        )
    return {"guess": 0.0, "guess_loss": metric.guess}


def directions(trials: Iterable[TrialConfig]) -> dict[str, bool]:
    """Whether lower is better, for each further metric of some trials by name.

    Raises:
        UserError: if one name stands for two functions or two directions, because a table has one
            column for it.
    """
    found: dict[str, Metric] = {}
    given: dict[str, Metric] = {}
    for trial in trials:
        for metric in trial.own_metrics:
            if given.setdefault(metric.name, metric) != metric:
                raise UserError(
                    f"two functions have the name {metric.name!r} as metrics of this study, and"
                    " would share a column of its tables: rename one of them"
                )
        for metric in _all(trial):
            first = found.setdefault(metric.name, metric)
            if first.lower_is_better != metric.lower_is_better:
                raise UserError(
                    f"for the metric {metric.name!r}, lower is better for one task of this study"
                    " and higher is better for another: rename one of them"
                )
    return {name: metric.lower_is_better for name, metric in found.items()}


def _all(trial: TrialConfig) -> Sequence[Metric]:
    tasks = (trial.task, *trial.test_tasks)
    return [metric for task in tasks for metric in trial.metrics_on(task)]
