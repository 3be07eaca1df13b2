"""What both searches lose and save on a full grid that is stored: nothing is trained.

    python benchmarks/search_on_grids.py STORE STUDY

The study must have run a `FixedGrid` over 1e-4 to 1e-1, two rates a decade, on the seeds 9001 and
9002, on which the searches choose, and on seeds to report. A search is followed over what is
stored; it may not look beyond the grid nor between its rates.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import recollect as rc
from recollect.reports.tables import in_markdown
from recollect.studies.cell import Cell
from recollect.studies.rate_range import RangeSearch
from recollect.studies.replay import Plan, Progress, Trial
from recollect.studies.standing import steps_used

SEARCHES: dict[str, RangeSearch] = {
    "best rate": rc.BestRateSearch(refine=0),
    "window": rc.LearningRateSearch(refine=0),
}
BEYOND = Progress("failed", 0, {})
"""A rate that is not on the grid is unknown."""


class Grid(dict[Trial, Progress]):
    """What is stored, and `BEYOND` for every other rate."""

    def __contains__(self, _: object) -> bool:
        return True

    def __missing__(self, _: Trial) -> Progress:
        return BEYOND


def followed(cell: Cell, search: RangeSearch, grid: Grid, seeds: Sequence[int]) -> Plan:
    """A search over the grid, which must have all that it asks for."""
    plan: Plan = cell.replace(search=search, seeds=seeds).plan(grid)
    assert plan.done, plan.requests
    return plan


def mean(grid: Mapping[Trial, Progress], rate: float, seeds: Sequence[int]) -> float:
    """Merit at the end, over seeds."""
    return sum(grid[rate, seed].merit(None) for seed in seeds) / len(seeds)


def rows_of(cell: Cell, stored: Mapping[Trial, Progress]) -> list[list[str]]:
    """A row for each search."""
    choosing = SEARCHES["best rate"].own_seeds
    seeds = [seed for seed in cell.seeds if seed not in choosing]
    rates = sorted({rate for rate, _ in stored})
    lacking = [
        (rate, seed)
        for rate in rates
        for seed in (*choosing, *seeds)
        if (rate, seed) not in stored or not stored[rate, seed].reached(None)
    ]
    if lacking or not seeds:
        raise rc.UserError(
            f"{cell.label} has no full grid: it lacks {lacking or 'seeds to report'}"
        )
    grid = Grid(stored)
    whole = sum(trial.step for trial in grid.values())
    best = max(rates, key=lambda rate: mean(grid, rate, seeds))
    top = mean(grid, best, seeds)
    rows = []
    for name, search in SEARCHES.items():
        plan = followed(cell, search, grid, seeds)
        found = plan.chosen
        got = 0.0 if found is None else mean(grid, found.learning_rate, seeds)
        chosen = "none" if found is None else f"{found.learning_rate:g}"
        numbers = [f"{best:g}", f"{top:.3f}", chosen, f"{got:.3f}", f"{top - got:.3f}"]
        rows.append([cell.label, name, *numbers, f"{steps_used(plan, stored) / whole:.0%}"])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("study")
    given = parser.parse_args()
    with rc.Store(given.store, must_exist=True) as store:
        cells = store.cells(given.study)
        rows = [row for cell in cells for row in rows_of(cell, store.trials(cell))]
    headings = ["cell", "search", "best rate", "its mean", "chosen", "its mean", "lost"]
    print(in_markdown([*headings, "steps, of the full grid"], rows))
    losses = [float(row[6]) for row in rows]
    print(f"{len(rows)} searches: {max(losses):.3f} lost at most", end="")
    print(f", {sum(losses) / len(losses):.3f} on average")


if __name__ == "__main__":
    main()
