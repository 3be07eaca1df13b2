"""Sudden drops of a loss curve: where it falls most at once, beside what a smooth fall would do.

A loss that falls steadily loses its largest part at the beginning. One that waits on a plateau and
then drops, as when an induction head forms, loses it later and at once. What every model loses
first, down to the loss of an answer that reads nothing, is no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SPAN = 0.1
"""Share of the steps within which a drop counts as one."""
SUDDEN = 2.0
"""A drop so many times that of the smooth curve at the same place is a sudden one."""
LEAST_SHARE = 0.25
"""Of the whole fall: a smaller drop is no phase change, however sudden."""
LEAST_FALL = 1.0
"""Nats by which the loss of a model that learns falls in all at least: the right answer becomes e
times as likely. A model that learns nothing has no phase change, however its loss trembles."""

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhaseChange:
    """The steepest drop of a loss curve.

    Attributes:
        step: the middle of it, in optimiser steps.
        size: how far the loss falls, in nats.
        share: of the whole fall from the highest to the lowest loss.
        smooth_size: how far the smooth curve that fits best falls over the same steps, in nats.
    """

    step: float
    size: float
    share: float
    smooth_size: float

    @property
    def whole(self) -> float:
        """The whole fall, in nats."""
        return self.size / self.share

    @property
    def steepness(self) -> float:
        """How many times as far the loss falls as the smooth curve does there."""
        return self.size / self.smooth_size if self.smooth_size > 0 else math.inf

    @property
    def is_sudden(self) -> bool:
        """Whether it is a phase change, not part of a steady fall."""
        learns = self.whole >= LEAST_FALL and self.share >= LEAST_SHARE
        return learns and self.steepness >= SUDDEN


def steepest_drop(
    steps: Sequence[float],
    losses: Sequence[float],
    ceiling: float | None = None,
    *,
    budget: float | None = None,
) -> PhaseChange | None:
    """The largest fall of the loss within a tenth of the budget.

    Args:
        steps: optimiser steps, ascending.
        losses: at these steps, in nats.
        ceiling: losses above it count as it; `Task.marginal_loss` leaves only what a model learns
            to read. None: there is none.
        budget: steps that the trial could have had; one that ended before, as it solved its task,
            would have stayed at its last loss. None: it took them all.

    Returns:
        None for a curve of fewer than three points, or one that never falls.

    Raises:
        ValueError: for steps that do not ascend, or as many losses as there are steps not.
    """
    x, y = np.asarray(steps, dtype=float), np.asarray(losses, dtype=float)
    if ceiling is not None:
        y = np.minimum(y, ceiling)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{len(steps)} steps and {len(losses)} losses: expected as many of both")
    if (np.diff(x) <= 0).any():
        raise ValueError("steps: expected ascending numbers")
    if len(x) < 3:
        return None
    if budget is not None:
        x, y = _prolonged(x, y, budget)
    ends = np.maximum(
        np.searchsorted(x, x + SPAN * (x[-1] - x[0]), side="right") - 1, np.arange(len(x)) + 1
    ).clip(max=len(x) - 1)
    falls = y - y[ends]
    start = int(falls.argmax())
    end = int(ends[start])
    if falls[start] <= 0:
        return None
    smooth = smooth_fall(x, y)
    return PhaseChange(
        step=float(x[start] + x[end]) / 2,
        size=float(falls[start]),
        share=float(falls[start] / (y.max() - y.min())),
        smooth_size=float(smooth[start] - smooth[end]),
    )


def _prolonged(steps: Curve, losses: Curve, budget: float) -> tuple[Curve, Curve]:
    """The curve with its last loss up to the budget, at its own distances."""
    more = np.arange(steps[-1], budget, steps[-1] - steps[-2])[1:]
    more = np.append(more, budget) if budget > steps[-1] else more
    return np.append(steps, more), np.append(losses, np.full(len(more), losses[-1]))


def smooth_fall(steps: Curve, losses: Curve) -> Curve:
    """The curve a + b exp(-t / c) with b >= 0 that fits best, at each step."""
    t = steps - steps[0]
    best: tuple[float, Curve] = (
        float(((losses - losses.mean()) ** 2).sum()),
        np.full_like(losses, losses.mean()),
    )
    for c in np.geomspace(t[-1] / 100, 10 * t[-1], 60):
        shape = np.exp(-t / c)
        b, a = np.polyfit(shape, losses, 1)
        fitted = a + b * shape
        error = float(((losses - fitted) ** 2).sum())
        if b >= 0 and error < best[0]:
            best = error, fitted
    return best[1]
