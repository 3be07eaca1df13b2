"""How often verdicts err, and what ranges over seeds hold: simulated, for docs/verdicts.md.

    python benchmarks/verdict_errors.py [--runs N]

A claim of one, two or three parts is judged at 5 % on seeds whose numbers are made up. The median
seed lies on the threshold, which is the worst case: of one part where the claim is false, the other
parts being established, and of every part where it is true.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recollect.analysis.sign_test import boundaries, looks, range_coverage
from recollect.reports.tables import in_markdown

LEVEL = 0.05
PARTS, STARTS = (1, 2, 3), (1, 2, 3, 5)
Draw = Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[np.float64]]
NULLS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "all or nothing": lambda rng, shape: np.where(rng.random(shape) < 0.5, 0.5, -0.4),
    "skewed": lambda rng, shape: rng.lognormal(0.0, 2.0, shape) - 1,
    "often on the bound": lambda rng, shape: np.where(
        rng.random(shape) < 0.4, 0.0, rng.normal(size=shape)
    ),
}
"""Numbers whose median seed is on the threshold, at 0."""


def established(right: npt.NDArray[np.bool_], first: int, level: float) -> npt.NDArray[np.bool_]:
    """Whether the seeds of each run, its last axis, establish a part at some look."""
    planned = looks(first)
    hits = [
        right[..., :look].sum(axis=-1) >= needed
        for look, needed in zip(planned, boundaries(planned, level), strict=True)
        if needed is not None
    ]
    return np.any(hits, axis=0)


def falsely_reproduced(draw: Draw, first: int, rng: np.random.Generator, runs: int) -> float:
    """How often a false claim is said to be reproduced: its other parts are always established."""
    numbers = draw(rng, (runs, looks(first)[-1]))
    return float(established(numbers > 0, first, LEVEL).mean())


def falsely_contradicted(
    draw: Draw, parts: int, first: int, rng: np.random.Generator, runs: int
) -> float:
    """How often a claim that is just true is said to be contradicted, by any of its parts."""
    numbers = draw(rng, (runs, parts, looks(first)[-1]))
    return float(established(numbers < 0, first, LEVEL / parts).any(axis=1).mean())


def power(share: float, rng: np.random.Generator, runs: int) -> tuple[float, float]:
    """How often a part is established where a share of all seeds is right, by 5 seeds and by 10."""
    right = rng.random((runs, 10)) < share
    return float((right[:, :5].all(axis=1)).mean()), float(established(right, 5, LEVEL).mean())


def coverage(draw: Draw, seeds: int, rng: np.random.Generator, runs: int) -> float:
    """How often the range over seeds holds the median seed."""
    numbers = draw(rng, (runs, seeds))
    return float(((numbers.min(axis=1) <= 0) & (numbers.max(axis=1) >= 0)).mean())


def percent(share: float) -> str:
    """`3.6 %`."""
    return f"{100 * share:.1f} %"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200_000, help="of each simulation")
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    print("False claims that are said to be reproduced, with seeds added up to 10:\n")
    rows = [
        [name, *(percent(falsely_reproduced(draw, first, rng, runs)) for first in STARTS)]
        for name, draw in NULLS.items()
    ]
    print(in_markdown(["seeds", *(f"from {first}" for first in STARTS)], rows))
    print("\nTrue claims that are said to be contradicted, from 5 seeds:\n")
    rows = [
        [name, *(percent(falsely_contradicted(draw, n, 5, rng, runs)) for n in PARTS)]
        for name, draw in NULLS.items()
    ]
    print(in_markdown(["seeds", *(f"{n} part{'s' * (n > 1)}" for n in PARTS)], rows))
    print("\nParts that are established, by the share of all seeds that are right:\n")
    rows = [
        [percent(share), *map(percent, power(share, rng, runs))]
        for share in (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
    ]
    print(in_markdown(["right", "by 5 seeds", "by 5, else 10"], rows))
    print("\nRanges that hold the median seed:\n")
    rows = [
        [str(n), percent(range_coverage(n))]
        + [percent(coverage(draw, n, rng, runs)) for draw in NULLS.values()]
        for n in (2, 3, 5, 10)
    ]
    print(in_markdown(["seeds", "at least", *NULLS], rows))


if __name__ == "__main__":
    main()
