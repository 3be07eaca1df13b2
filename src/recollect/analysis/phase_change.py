"""Sudden drops of a loss curve, compared with a smooth fit of the curve.

A loss that falls steadily falls most at the beginning. A loss that stays on a plateau and then
drops, as when an induction head forms, falls most later and within a few steps. The initial fall to
the marginal loss (the best loss without reading the input), which all models share, is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SPAN = 0.1
"""Fraction of the steps within which a fall counts as one drop."""
SUDDEN = 2.0
"""A drop is sudden if it is at least this many times as large as that of the smooth curve over the
same steps."""
LEAST_SHARE = 0.25
"""Smallest fraction of the whole fall that counts as a phase change."""
LEAST_FALL = 1.0
"""Smallest whole fall, in nats, of a model that learns; the right answer becomes e times as likely.
Fluctuations of a model that learns nothing are no phase change."""

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhaseChange:
    """The steepest drop of a loss curve.

    Attributes:
        step: optimiser step in its middle.
        size: fall of the loss, in nats.
        share: fraction of the whole fall, the largest from any loss to a later one.
        smooth_size: fall of the best smooth fit over the same steps, in nats.
    """

    step: float
    size: float
    share: float
    smooth_size: float

    @property
    def whole(self) -> float:
        """Whole fall of the curve, in nats."""
        return self.size / self.share

    @property
    def steepness(self) -> float:
        """Ratio of the drop to that of the smooth curve."""
        return self.size / self.smooth_size if self.smooth_size > 0 else math.inf

    @property
    def is_sudden(self) -> bool:
        """Whether the drop is a phase change and not part of a steady fall."""
        learns = self.whole >= LEAST_FALL and self.share >= LEAST_SHARE
        return learns and self.steepness >= SUDDEN


def steepest_drop(
    steps: Sequence[float],
    losses: Sequence[float],
    ceiling: float | None = None,
    *,
    budget: float,
) -> PhaseChange | None:
    """Find the largest fall of the loss within a tenth of the budget.

    Args:
        steps: optimiser steps, ascending.
        losses: losses at these steps, in nats.
        ceiling: losses above it are clipped to it; `Task.marginal_loss` leaves only what a model
            learns by reading. None: no clipping.
        budget: the trial's number of steps. The last loss of a trial that ended earlier, because it
            solved its task, is continued up to it.

    Returns:
        None if the curve has fewer than three points or never falls.

    Raises:
        ValueError: if the steps do not ascend or the lengths differ.
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
        share=float(falls[start] / (np.maximum.accumulate(y) - y).max()),
        smooth_size=float(smooth[start] - smooth[end]),
    )


def _prolonged(steps: Curve, losses: Curve, budget: float) -> tuple[Curve, Curve]:
    """The curve continued up to the budget with its last loss, at its own step distance."""
    more = np.arange(steps[-1], budget, steps[-1] - steps[-2])[1:]
    more = np.append(more, budget) if budget > steps[-1] else more
    return np.append(steps, more), np.append(losses, np.full(len(more), losses[-1]))


def smooth_fall(steps: Curve, losses: Curve) -> Curve:
    """Least-squares fit of a + b exp(-t / c) with b >= 0, at each step."""
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
