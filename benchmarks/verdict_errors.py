"""How often verdicts err, and what ranges over seeds hold: simulated, for docs/verdicts.md.

    python benchmarks/verdict_errors.py [--runs N]

Claims are judged at 5 % on seeds whose numbers are made up. The median seed of a cell lies on the
threshold, which is the worst case. A part about several cells, or between two bounds, has a test
for each of them; the converse of each is tested at the level divided by their number. A model that
leaves its plateau by luck is said to fail if no rate solves the task on a seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recollect.analysis.sign_test import boundaries, looks, range_coverage
from recollect.reports.tables import in_markdown
from recollect.studies.best_rate import BestRateSearch

LEVEL, MOST = 0.05, 10
TESTS, STARTS = (1, 2, 4, 9), (1, 2, 3, 5)
Numbers = npt.NDArray[np.float64]
Seeds = npt.NDArray[np.bool_]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Numbers]
NULLS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "all or nothing": lambda rng, shape: np.where(rng.random(shape) < 0.5, 0.5, -0.4),
    "skewed": lambda rng, shape: rng.lognormal(0.0, 2.0, shape) - 1,
    "often without a number": lambda rng, shape: np.where(
        rng.random(shape) < 0.4, np.nan, rng.normal(size=shape)
    ),
}
"""Numbers whose median seed is on the threshold, at 0."""
LITTLE = 0.05
ALIKE: dict[str, Draw] = {
    "normal, sd 0.05": lambda rng, shape: rng.normal(0.6, 0.05, shape),
    "normal, sd 0.2": lambda rng, shape: rng.normal(0.6, 0.2, shape),
    "uniform, 0.25 to 1": lambda rng, shape: rng.uniform(0.25, 1, shape),
    "one of 0.25, 0.5, 0.75": lambda rng, shape: rng.choice([0.25, 0.5, 0.75], shape),
}
"""Accuracies of two models that do not differ but by their seeds."""
RATES = np.log10(BestRateSearch().coarse)
SEARCHING = 2
"""Seeds on which a rate is chosen."""


def established(right: Seeds, first: int, level: float) -> Seeds:
    """Whether the seeds of each run, its last axis, establish something at some look."""
    planned = looks(first)
    hits = [
        right[..., :look].sum(axis=-1) >= needed
        for look, needed in zip(planned, boundaries(planned, level), strict=True)
        if needed is not None
    ]
    if not hits:
        return np.zeros(right.shape[:-1], dtype=bool)
    found: Seeds = np.any(hits, axis=0)
    return found


def falsely_reproduced(draw: Draw, first: int, rng: np.random.Generator, runs: int) -> float:
    """How often a false claim is said to be reproduced: its other parts are always established."""
    numbers = draw(rng, (runs, MOST))
    return float(established(numbers > 0, first, LEVEL).mean())


def falsely_contradicted(draw: Draw, tests: int, rng: np.random.Generator, runs: int) -> float:
    """How often a claim that is just true is said to be contradicted, by any of its tests."""
    numbers = draw(rng, (runs, tests, MOST))
    return float(established(numbers < 0, 5, LEVEL / tests).any(axis=1).mean())


def odd_seeds(share: float, cells: int, rng: np.random.Generator, runs: int) -> tuple[float, float]:
    """How often a claim about several cells is reproduced and contradicted, where each is right on
    a share of all seeds."""
    right = rng.random((runs, cells, MOST)) < share
    reproduced = established(right, 5, LEVEL).all(axis=1)
    contradicted = established(~right, 5, LEVEL / cells).any(axis=1)
    return float(reproduced.mean()), float(contradicted.mean())


def alike(draw: Draw, rng: np.random.Generator, runs: int) -> tuple[float, float]:
    """How often it is reproduced and contradicted that two models differ little, who do not differ
    at all: by two tests, one for each side."""
    one, two = draw(rng, (2, runs, MOST))
    inside = [one - two > -LITTLE, one - two < LITTLE]
    reproduced = np.all([established(each, 5, LEVEL) for each in inside], axis=0)
    contradicted = np.any([established(~each, 5, LEVEL / 2) for each in inside], axis=0)
    return float(reproduced.mean()), float(contradicted.mean())


def lucky(
    escape: float, width: float, rng: np.random.Generator, runs: int
) -> tuple[float, float, float]:
    """How often a model is said to fail that leaves its plateau by luck, most often at one rate, at
    the rate that was chosen on two seeds; likewise, if no rate may solve the task on a seed; and
    how often it is said to solve the task."""
    centre = rng.choice(RATES[1:-1], (runs, 1)) + rng.uniform(-0.1, 0.1, (runs, 1))
    nearest = np.abs(RATES - centre).min(axis=1, keepdims=True)
    chance = escape * np.exp((nearest / width) ** 2 - ((RATES - centre) / width) ** 2)
    solved = rng.random((runs, SEARCHING + MOST, len(RATES))) < chance[:, None]
    merits = solved[:, :SEARCHING].mean(axis=1) + 1e-6 * rng.random((runs, len(RATES)))
    seeds = solved[:, SEARCHING:]
    chosen = np.take_along_axis(seeds, merits.argmax(axis=1)[:, None, None], axis=2)[..., 0]
    return (
        float(established(~chosen, 5, LEVEL).mean()),
        float(established(~seeds.any(axis=2), 5, LEVEL).mean()),
        float(established(chosen, 5, LEVEL).mean()),
    )


def power(share: float, rng: np.random.Generator, runs: int) -> tuple[float, float]:
    """How often a part is established where a share of all seeds is right, by 5 seeds and by 10."""
    right = rng.random((runs, MOST)) < share
    return float((right[:, :5].all(axis=1)).mean()), float(established(right, 5, LEVEL).mean())


def coverage(draw: Draw, seeds: int, rng: np.random.Generator, runs: int) -> float:
    """How often the range over seeds holds the median seed."""
    numbers = draw(rng, (runs, seeds))
    return float(((numbers.min(axis=1) <= 0) & (numbers.max(axis=1) >= 0)).mean())


def percent(share: float) -> str:
    """`3.6 %`."""
    return f"{100 * share:.1f} %"


def show(title: str, headings: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    print(f"\n{title}:\n\n{in_markdown(headings, rows)}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="of each simulation")
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    show(
        "False claims that are said to be reproduced, with seeds added up to 10",
        ["seeds", *(f"from {first}" for first in STARTS)],
        [
            [name, *(percent(falsely_reproduced(draw, first, rng, runs)) for first in STARTS)]
            for name, draw in NULLS.items()
        ],
    )
    show(
        "True claims that are said to be contradicted, by parts, cells and sides, from 5 seeds",
        ["seeds", *(f"{n} test{'s' * (n > 1)}" for n in TESTS)],
        [
            [name, *(percent(falsely_contradicted(draw, n, rng, runs)) for n in TESTS)]
            for name, draw in NULLS.items()
        ],
    )
    show(
        "Claims about several cells, each right on a share of all seeds: reproduced, contradicted",
        ["right", *(f"{n} cell{'s' * (n > 1)}" for n in TESTS)],
        [
            [percent(p), *(", ".join(map(percent, odd_seeds(p, n, rng, runs))) for n in TESTS)]
            for p in (0.9, 0.8, 0.7, 0.6)
        ],
    )
    show(
        "That two models differ by less than 0.05 which do not differ",
        ["accuracies", "reproduced", "contradicted"],
        [[name, *map(percent, alike(draw, rng, runs))] for name, draw in ALIKE.items()],
    )
    show(
        "Models that solve the task by luck",
        [
            "solve it at their best rate",
            "within (decades)",
            "fail at the chosen rate",
            "fail at every rate",
            "solve the task",
        ],
        [
            [percent(escape), f"{width:g}", *map(percent, lucky(escape, width, rng, runs // 4))]
            for escape in (0.5, 0.6, 0.7, 0.9)
            for width in (0.15, 0.6)
        ],
    )
    show(
        "Parts that are established, by the share of all seeds that are right",
        ["right", "by 5 seeds", "by 5, else 10"],
        [
            [percent(share), *map(percent, power(share, rng, runs))]
            for share in (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
        ],
    )
    known = {name: draw for name, draw in NULLS.items() if "without" not in name}
    show(
        "Ranges that hold the median seed",
        ["seeds", "at least", *known],
        [
            [str(n), percent(range_coverage(n))]
            + [percent(coverage(draw, n, rng, runs)) for draw in known.values()]
            for n in (2, 3, 5, 10)
        ],
    )


if __name__ == "__main__":
    main()
