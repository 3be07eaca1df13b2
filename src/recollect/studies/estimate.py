"""Estimate of the time that a running study still needs."""

from __future__ import annotations

import time

from recollect.studies.cell import Cell
from recollect.studies.replay import Plan, Trials
from recollect.studies.standing import steps_used


def expected_work(cell: Cell) -> float:
    """Expected steps of a cell's search, weighted by the size of model and batch; a rough
    estimate."""
    steps = cell.search.expected_trials(len(cell.seeds)) * cell.steps
    batch: int = cell.template["train"]["batch_size"]
    return steps * batch * cell.d_model * cell.n_layers


class Estimate:
    """Estimates the time left from the fraction of the expected work that is done."""

    def __init__(self) -> None:
        self._shares: dict[str, tuple[float, float]] = {}
        self._begin: tuple[float, float] | None = None

    def update(self, cell: Cell, plan: Plan, trials: Trials) -> None:
        """Update the progress of a cell."""
        done = steps_used(plan, trials)
        asked = len(plan.requests) * cell.steps
        expected = cell.search.expected_trials(len(cell.seeds)) * cell.steps
        share = 1.0 if plan.done else done / max(expected, done + asked)
        self._shares[cell.label] = (expected_work(cell), share)

    def begin(self) -> None:
        """Start measuring time; work done before is not counted."""
        self._begin = (time.monotonic(), self._done())

    def seconds_left(self) -> float | None:
        """Estimated seconds left; None until some work is done."""
        assert self._begin is not None
        since, before = self._begin
        done = self._done()
        if done <= before:
            return None
        return (time.monotonic() - since) * (1 - done) / (done - before)

    def _done(self) -> float:
        total = sum(weight for weight, _ in self._shares.values())
        return sum(weight * share for weight, share in self._shares.values()) / total
