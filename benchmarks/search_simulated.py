"""How often the search for the best rate errs, and what it costs, on simulated models.

    python benchmarks/search_simulated.py [--models N]

A model is a landscape over learning rates: for each rate the chance that a seed leaves the initial
plateau, when it does, and the accuracy that it then reaches. The truth of a rate is its expected
accuracy over seeds; a choice is compared with the best of the coarse rates from 1e-4 to 1e-1. The
full grid trains all of these on both search seeds, chooses by their mean, and trains them on five
seeds of the study too. Every accuracy has the noise of 500 validation examples.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import recollect as rc
from recollect.reports.tables import in_markdown
from recollect.studies.replay import Progress, Trial
from recollect.studies.search import Search

CHANCE, STEPS, EVERY, EXAMPLES = 0.25, 2000, 50, 500
SEEDS = (42, 123, 777, 2024, 31337)
SEARCH = rc.BestRateSearch()
GRID = SEARCH.coarse
MARGINS = (0.02, 0.1)


@dataclass(frozen=True)
class Model:
    """A landscape over the logarithm of the rate.

    Attributes:
        top: accuracy after the plateau.
        escape: the chance that a seed leaves the plateau within the budget.
        leaves: the mean share of the budget at which it does.
        seed: of its noise.
    """

    top: Callable[[float], float]
    escape: Callable[[float], float]
    leaves: Callable[[float], float]
    seed: int

    def expected(self, rate: float) -> float:
        """Accuracy over all seeds."""
        x = math.log10(rate)
        return CHANCE + self.escape(x) * (self.top(x) - CHANCE)

    def trial(self, rate: float, seed: int, until: int | None) -> Progress:
        """What training gives up to a step."""
        x, draw = math.log10(rate), np.random.default_rng([self.seed, seed, round(rate * 1e9)])
        escapes = draw.random() < self.escape(x)
        leaves = min(1.0, self.leaves(x) * draw.lognormal(0, 0.2)) * STEPS if escapes else math.inf
        steps = np.arange(EVERY, (until or STEPS) + 1, EVERY)
        mean = np.where(steps >= leaves, self.top(x), CHANCE)
        noise = draw.normal(size=STEPS // EVERY)[: len(steps)]
        error = np.sqrt(mean * (1 - mean) / EXAMPLES)
        merits = np.clip(mean + noise * error, 0, 1)
        status = "complete" if until in (None, STEPS) else "stopped"
        by_step = [dict(zip(steps.tolist(), of.tolist(), strict=True)) for of in (merits, error)]
        return Progress(status, int(steps[-1]), by_step[0], errors=by_step[1])


def hill(centre: float, width: float, height: float) -> Callable[[float], float]:
    """From a height at the centre down to chance."""
    return lambda x: CHANCE + (height - CHANCE) * math.exp(-(((x - centre) / width) ** 4))


def late_bloomers(draw: np.random.Generator, seed: int) -> Model:
    """The plateau ends at a random share of the budget, the later the lower the rate; the best
    accuracy is at the low end of what leaves it."""
    centre, latest = draw.uniform(-3, -1.5), draw.uniform(0.3, 0.95)
    return Model(
        top=hill(centre, draw.uniform(0.6, 1.2), draw.uniform(0.7, 1.0)),
        escape=lambda _: 1.0,
        leaves=lambda x: min(1.0, max(0.05, latest - 0.4 * (x - centre))),
        seed=seed,
    )


def narrow_windows(draw: np.random.Generator, seed: int) -> Model:
    """Only rates within a third of a decade or less work."""
    share = draw.uniform(0.1, 0.8)
    return Model(
        top=hill(draw.uniform(-3.5, -1.5), draw.uniform(0.15, 0.35), draw.uniform(0.6, 1.0)),
        escape=lambda _: 1.0,
        leaves=lambda _: share,
        seed=seed,
    )


def two_modes(draw: np.random.Generator, seed: int) -> Model:
    """Two hills a decade or two apart; the higher one is slower."""
    low, apart, height = draw.uniform(-3.7, -2.7), draw.uniform(1, 2), draw.uniform(0.6, 1.0)
    slow, fast = hill(low, 0.4, height), hill(low + apart, 0.4, height - draw.uniform(0.05, 0.2))
    late = draw.uniform(0.3, 0.9)
    return Model(
        top=lambda x: max(slow(x), fast(x)),
        escape=lambda _: 1.0,
        leaves=lambda x: late if slow(x) > fast(x) else 0.2,
        seed=seed,
    )


def best_beyond(draw: np.random.Generator, seed: int) -> Model:
    """Two hills; the higher one lies beyond the lowest rate of the grid, and is there as high as
    the other."""
    height, far, share = draw.uniform(0.5, 0.75), draw.uniform(0.2, 0.4), draw.uniform(0.1, 0.8)
    top = CHANCE + (height - CHANCE) * math.exp((far / 0.6) ** 4)
    near, beyond = hill(draw.uniform(-2.5, -2), 0.5, height), hill(-4 - far, 0.6, top)
    return Model(
        top=lambda x: max(near(x), beyond(x)),
        escape=lambda _: 1.0,
        leaves=lambda _: share,
        seed=seed,
    )


def luck(draw: np.random.Generator, seed: int) -> Model:
    """A seed leaves the plateau by chance, most often around one rate; what leaves it nearly solves
    the task."""
    centre, width, most = draw.uniform(-3, -1.5), draw.uniform(0.4, 1), draw.uniform(0.4, 1)
    height, share = draw.uniform(0.9, 1.0), draw.uniform(0.2, 0.8)
    return Model(
        top=lambda _: height,
        escape=lambda x: most * math.exp(-(((x - centre) / width) ** 2)),
        leaves=lambda _: share,
        seed=seed,
    )


def noise_alone(draw: np.random.Generator, seed: int) -> Model:
    """All is smooth, and the noise of validation hides which rate is best."""
    share = draw.uniform(0.1, 0.5)
    return Model(
        top=hill(draw.uniform(-3, -2), draw.uniform(1, 1.5), draw.uniform(0.5, 0.95)),
        escape=lambda _: 1.0,
        leaves=lambda _: share,
        seed=seed,
    )


def tuned(model: Model, search: Search, seeds: Sequence[int]) -> tuple[float, int]:
    """The rate that a search chooses, and the steps that it takes."""
    trials: dict[Trial, Progress] = {}
    while True:
        plan = search.plan(trials, seeds=seeds, steps=STEPS, eval_every=EVERY, chance=CHANCE)
        if plan.done:
            assert plan.chosen is not None
            return plan.chosen.learning_rate, sum(trial.step for trial in trials.values())
        for request in plan.requests:
            rate, seed = request.learning_rate, request.seed
            trials[rate, seed] = model.trial(rate, seed, request.until)


def main() -> None:
    """Print a row for each kind of model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=500)
    count = parser.parse_args().models
    whole = len(GRID) * STEPS * (2 + len(SEEDS))
    rows = []
    for kind in (late_bloomers, narrow_windows, two_modes, best_beyond, luck, noise_alone):
        losses: dict[str, list[float]] = {"search": [], "grid": []}
        costs = []
        for i in range(count):
            model = kind(np.random.default_rng(i), i)
            best = max(map(model.expected, GRID))
            rate, steps = tuned(model, SEARCH, SEEDS)
            costs.append(steps / whole)
            losses["search"].append(best - model.expected(rate))
            rate, _ = tuned(model, rc.FixedGrid(rates=GRID), SEARCH.own_seeds)
            losses["grid"].append(best - model.expected(rate))
        worse = [
            f"{np.mean(np.array(losses[how]) > margin):.1%}" for margin in MARGINS for how in losses
        ]
        name = kind.__name__.replace("_", " ")
        mean = [f"{np.mean(each):+.3f}" for each in losses.values()]
        rows.append([name, *worse, *mean, f"{np.mean(costs):.0%}"])
    headings = [
        f"{what}, {how}"
        for what in (*(f"worse by more than {margin:g}" for margin in MARGINS), "mean loss")
        for how in ("search", "grid")
    ]
    print(in_markdown(["models", *headings, "steps, of the full grid"], rows))


if __name__ == "__main__":
    main()
