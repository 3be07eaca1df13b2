"""Searches over made-up landscapes, whose trials cost nothing."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from recollect.analysis.learning_rate import SOLVED
from recollect.studies.replay import Plan, Progress, Request
from recollect.studies.search import BestRateSearch, FixedGrid, LearningRateSearch, Search

STEPS, EVERY, SEEDS = 1000, 50, (42, 123, 777)
SHIFTS = {42: -1.0, 123: 0.0, 777: 1.0, 9001: 0.5, 9002: -0.5}
"""How much of the jitter each seed has."""


@dataclass(frozen=True)
class Landscape:
    """How accuracy depends on the learning rate: a plateau at chance, a drop to its end.

    Attributes:
        centre: log10 of the best rate.
        width: decades on both sides of it that are as good.
        top: accuracy there.
        slope: accuracy lost for each decade beyond.
        drop: share of the budget at which trials leave the plateau.
        diverges: log10 of the rate from which on trials diverge.
        jitter: how far a seed shifts the centre, in decades.
        error: standard error of every accuracy.
    """

    centre: float = -2.5
    width: float = 0.2
    top: float = 1.0
    slope: float = 2.0
    drop: float = 0.2
    diverges: float = 0.0
    jitter: float = 0.0
    chance: float = 0.25
    error: float = 0.0

    def end(self, rate: float, seed: int) -> float:
        shift = self.jitter * SHIFTS[seed]
        beyond = max(0.0, abs(math.log10(rate) - self.centre - shift) - self.width)
        return max(self.chance, self.top - self.slope * beyond)

    def leaves_at(self, _rate: float, _seed: int) -> float:
        """Share of the budget at which a trial leaves the plateau."""
        return self.drop

    def trial(self, rate: float, seed: int, until: int | None) -> Progress:
        """What training would give."""
        accuracies: dict[int, float] = {}
        errors = dict.fromkeys(range(EVERY, STEPS + 1, EVERY), self.error)
        for step in errors:
            if math.log10(rate) >= self.diverges and step > STEPS / 10:
                return Progress("diverged", step - EVERY // 2, accuracies, errors=errors)
            has_left = step >= self.leaves_at(rate, seed) * STEPS
            accuracies[step] = self.end(rate, seed) if has_left else self.chance
            if accuracies[step] >= 0.999:
                return Progress("complete", step, accuracies, errors=errors)
            if step == until:
                return Progress("stopped", step, accuracies, errors=errors)
        return Progress("complete", STEPS, accuracies, errors=errors)


@dataclass(frozen=True)
class Curves(Landscape):
    """Landscapes that are written down: the share of the budget at which a rate leaves the plateau,
    and where it ends."""

    curve: Callable[[float, int], tuple[float, float]] = lambda *_: (0.0, 1.0)

    def end(self, rate: float, seed: int) -> float:
        return self.curve(rate, seed)[1]

    def leaves_at(self, rate: float, seed: int) -> float:
        return self.curve(rate, seed)[0]


@dataclass
class Run:
    """A study of one cell, and what it cost."""

    search: Search
    landscape: Landscape
    near: float | None = None
    solved: float = SOLVED
    seeds: tuple[int, ...] = SEEDS
    trials: dict[tuple[float, int], Progress] = field(default_factory=dict)
    requested: list[Request] = field(default_factory=list)

    def plan(self) -> Plan:
        return self.search.plan(
            self.trials,
            seeds=self.seeds,
            steps=STEPS,
            eval_every=EVERY,
            chance=self.landscape.chance,
            solved=self.solved,
            near=self.near,
        )

    def work(self, request: Request) -> None:
        trial = (request.learning_rate, request.seed)
        assert trial not in self.trials or not self.trials[trial].reached(request.until)
        self.trials[trial] = self.landscape.trial(*trial, request.until)
        self.requested.append(request)

    def finish(self, pick=lambda requests: requests) -> Plan:
        """Work until nothing is asked for; `pick` says which requests end before the next plan."""
        for _ in range(2000):
            plan = self.plan()
            if plan.done:
                return plan
            for request in pick(list(plan.requests)):
                self.work(request)
        raise AssertionError("the search does not end")

    def choose(self) -> float:
        """The rate that is chosen in the end."""
        chosen = self.finish().chosen
        assert chosen is not None
        return chosen.learning_rate

    @property
    def steps(self) -> int:
        return sum(progress.step for progress in self.trials.values())


shapes = {
    "centre": st.floats(-4.5, -0.5),
    "width": st.floats(0, 1.5),
    "top": st.floats(0.25, 1),
    "slope": st.floats(0.1, 10),
    "drop": st.floats(0, 1.2),
    "diverges": st.floats(-3, 0.5),
    "jitter": st.floats(-0.5, 0.5),
}
"""Of landscapes."""
landscapes = st.builds(
    Landscape,
    **shapes,
    chance=st.sampled_from([0.0, 0.25, 0.5]),
    error=st.sampled_from([0.0, 0.02]),
)
settings = {
    "per_decade": st.integers(1, 3),
    "refine": st.integers(0, 2),
    "search_seeds": st.integers(0, 2),
    "rungs": st.sampled_from([(), (0.5,), (0.25, 0.5), (0.01, 0.99)]),
}
range_searches = st.builds(LearningRateSearch, **settings) | st.builds(BestRateSearch, **settings)
searches = range_searches | st.builds(FixedGrid, rates=st.just((1e-4, 1e-3, 1e-2)))
nears = st.none() | st.floats(-6, 0).map(lambda exponent: 10**exponent)
