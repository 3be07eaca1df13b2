"""How often one of two windows of learning rates is called narrower: simulated, for
docs/verdicts.md.

    python benchmarks/window_errors.py [--studies N]

The accuracy of the first model falls to the chance level as soon as a rate lies outside its window,
that of the second slowly. Rates are tried as `LearningRateSearch` tries them: two per decade, and
the middle at both edges of the window of the mean over seeds. The claim is that the first window is
narrower than 0.8 of the second on all of five seeds: once for windows with interpolated edges, once
with edges anywhere between a rate that works and one that fails.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recollect.analysis.learning_rate import RateOutcome
from recollect.analysis.rate_window import Window, working_window
from recollect.papers.bounds import Side
from recollect.papers.predicates import is_narrower
from recollect.papers.selectors import MIXER
from recollect.reports.markup import in_markdown

CHANCE, SEEDS = 0.25, 5
WIDTHS = (0.3, 0.6, 1.0, 1.4, 2.0)
"""Widths of the first window, in decades."""
TIMES = (1, 2, 3)
"""Widths of the second window, as multiples of the first."""
BETWEEN_SEEDS = 0.1
"""Standard deviation of a window's centre over seeds, in decades."""
COARSE = [-6 + i / 2 for i in range(15)]
"""Logarithms of the rates, far beyond any window here."""
Centres = npt.NDArray[np.float64]
Accuracy = Callable[[float], float]


def cliff(outside: float) -> float:
    """Accuracy at a distance of so many decades outside the window; negative inside."""
    return 1.0 if outside <= 0 else CHANCE


def slope(outside: float) -> float:
    """As `cliff`; 0.9 at the edge, and at the chance level within a decade."""
    return float(np.clip(0.9 - (0.9 - CHANCE) * outside, CHANCE, 1.0))


def windows(accuracy: Accuracy, width: float, centres: Centres) -> list[Window | None]:
    """The measured window of each seed, given the centres of the true windows."""

    def reached(rates: list[float]) -> list[list[float]]:
        return [[accuracy(abs(rate - c) - width / 2) for c in centres] for rate in rates]

    mean = _window(COARSE, [float(np.mean(seeds)) for seeds in reached(COARSE)])
    middles = []
    if mean is not None:
        low, high = np.log10(mean.low), np.log10(mean.high)
        middles = [float(low) - 0.25, float(high) + 0.25]
    rates = sorted([*COARSE, *middles])
    tried = reached(rates)
    return [_window(rates, [seeds[i] for seeds in tried]) for i in range(len(centres))]


def _window(rates: list[float], accuracies: list[float]) -> Window | None:
    outcomes = [RateOutcome(10**r, (a,), 1) for r, a in zip(rates, accuracies, strict=True)]
    return working_window(outcomes, CHANCE)


def called_narrower(
    side: Side, width: float, times: float, rng: np.random.Generator
) -> tuple[bool, bool]:
    """Whether the first model is called narrower on all seeds, by interpolated edges and by edges
    within bounds."""
    centres = rng.uniform(-3, -2) + BETWEEN_SEEDS * rng.normal(size=SEEDS)
    one, two = windows(cliff, width, centres), windows(slope, times * width, centres)
    pairs = [(a, b) for a, b in zip(one, two, strict=True) if a is not None and b is not None]
    interpolated = [((a.decades, a.decades), (b.decades, b.decades)) for a, b in pairs]
    between = [(a.decades_between, b.decades_between) for a, b in pairs]
    placed = [[_is_narrower(side, *each) for each in kind] for kind in (interpolated, between)]
    by_interpolation, by_bounds = (len(each) == SEEDS and all(each) for each in placed)
    return by_interpolation, by_bounds


def _is_narrower(side: Side, own: tuple[float, float], other: tuple[float, float]) -> bool:
    bound, converse = (
        (each.value(other[0]), each.value(other[1]))  # type: ignore[union-attr]
        for each in (side.bound, side.converse)
    )
    return side.place(own, bound, converse) == "right"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000, help="of each kind")
    studies = parser.parse_args().studies
    rng = np.random.default_rng(0)
    (side,) = is_narrower({MIXER: "mamba"}, than={MIXER: "attention"}).sides
    rows = []
    for width in WIDTHS:
        found = [
            np.mean([called_narrower(side, width, times, rng) for _ in range(studies)], axis=0)
            for times in TIMES
        ]
        rows.append([f"{width:g}", *(f"{100 * share:.1f} %" for each in found for share in each)])
    ways = ("interpolated", "between rates")
    wide = [f"{times} time{'s' * (times > 1)} as wide" for times in TIMES]
    headings = ["decades", *(f"{times}, {way}" for times in wide for way in ways)]
    print(in_markdown(headings, rows))


if __name__ == "__main__":
    main()
