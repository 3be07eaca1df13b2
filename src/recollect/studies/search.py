"""How the learning rate of a cell is found: searches, which ask for the trials that they need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress

from pydantic import Field, field_validator, model_validator

from recollect.analysis.learning_rate import (
    TIE,
    RateOutcome,
    around,
    best_mean,
    choose_rate,
    fails,
    merits_window,
    on_plateau,
    tied_range,
    working_window,
)
from recollect.config import Config
from recollect.errors import UserError
from recollect.studies.rates import check_apart, check_end, middle, three_digits
from recollect.studies.replay import Missing, Plan, Replay, Trials

FINALISTS = 3
"""At most so many of the best rates on the first seed get the others, where no window is wanted."""


class Search(Config):
    """How the learning rate of a cell is found."""

    def plan(
        self,
        trials: Trials,
        *,
        seeds: Sequence[int],
        steps: int,
        eval_every: int,
        chance: float,
        solved: float = 1 - TIE,
        near: float | None = None,
    ) -> Plan:
        """What is needed next.

        Args:
            trials: what is stored of the cell.
            seeds: every one of which the chosen rate is run on.
            steps: the budget of a trial.
            eval_every: steps between validations.
            chance: accuracy of guessing.
            solved: accuracy of a trial that leaves nothing to improve.
            near: the rate chosen at the next smaller width, if that is known.
        """
        replay = Replay(trials, tuple(seeds), steps, eval_every, chance, solved, near)
        with suppress(Missing):
            self.follow(replay)
        return Plan(tuple(replay.requests), replay.used, replay.outcomes(), replay.failed)

    @property
    def measures_window(self) -> bool:
        """Whether enough is tried to know the window of working rates."""
        return True

    @property
    def begins_near(self) -> bool:
        """Whether it begins around the rate chosen at the next smaller width."""
        return False

    def follow(self, replay: Replay) -> None:
        """The procedure, from its beginning to its end."""
        raise NotImplementedError

    def expected_trials(self, n_seeds: int) -> int:
        """About how many trials of full length a cell takes, for an estimate of the time left."""
        raise NotImplementedError


class FixedGrid(Search):
    """Every rate on every seed to the end, as papers do it.

    Attributes:
        rates: the learning rates, at least 1 % apart.
    """

    rates: tuple[float, ...]

    @field_validator("rates")
    @classmethod
    def _are_rates(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if not rates:
            raise UserError("rates=[]: expected at least one learning rate")
        ascending = tuple(sorted(rates))
        check_apart("rates", ascending)
        return ascending

    def follow(self, replay: Replay) -> None:
        """Ask for everything at once."""
        replay.ask((rate, seed) for seed in replay.seeds for rate in self.rates)

    def expected_trials(self, n_seeds: int) -> int:
        """All of them."""
        return len(self.rates) * n_seeds


class LearningRateSearch(Search):
    """A coarse logarithmic grid, then a closer look where it matters.

    1. Race: every coarse rate on the first seed; where the rate chosen at the next smaller width is
       known, those next to it, and the others if none of these leaves the plateau. At each rung
       those still on the initial plateau are stopped, if the leader there is at least halfway from
       chance to 1.
    2. Extension: while the rate at an end is among the best, one more coarse rate beyond it, up to
       a decade beyond the grid; within the grid while it works. Where no rate has left the plateau
       nothing tells in which direction to look, and none is added.
    3. Refinement: the middles (in log) of the gaps on both sides of the best, and of the gaps at
       the edges of the working window.
    4. Seeds: the leader gets all of them, then every rate that no bound rules out gets one after
       the other. Where the leader is too poor for a window, only the best few do.
    5. Edges: a stopped rate next to the window is run to its end, so that it can be ruled out.

    A rate that failed is unknown, not bad: it is neither chosen nor bounds the window, and nothing
    more is asked of it. Where the leader fails on another seed, the next best takes its place.

    Without a window, which costs most of the trials, the grid is extended and refined around the
    leader alone, unless it has solved the task. The leader alone gets all seeds; only where it does
    worse on them than another rate on the first, as a lucky one will, does that one get them too.

    At most `most_rates` rates are tried.

    Attributes:
        low: lowest coarse rate.
        high: highest coarse rate, at least 1 % above.
        per_decade: coarse rates a decade.
        rungs: shares of the budget after which hopeless rates are stopped, rounded up to a
            validation.
        refine: rounds of refinement.
        window: whether the window of working rates is wanted.
    """

    low: float = 1e-4
    high: float = 1e-1
    per_decade: int = Field(default=2, ge=1, le=10)
    rungs: tuple[float, ...] = (0.25, 0.5)
    refine: int = Field(default=1, ge=0, le=3)
    window: bool = True

    @model_validator(mode="after")
    def _spans_a_range(self) -> LearningRateSearch:
        check_end("low", self.low)
        check_end("high", self.high)
        if self.low >= self.high:
            raise UserError(
                f"low={self.low} must lie below high={self.high}; for one rate, take"
                f" FixedGrid(rates=[{self.low}])"
            )
        check_apart("low and high", (self.low, self.high))
        if any(not 0 < rung < 1 for rung in self.rungs):
            raise UserError(f"rungs={list(self.rungs)}: expected shares between 0 and 1")
        return self

    @property
    def measures_window(self) -> bool:
        """As it was asked for."""
        return self.window

    @property
    def begins_near(self) -> bool:
        """It does."""
        return True

    @property
    def coarse(self) -> tuple[float, ...]:
        """The coarse grid."""
        return tuple(self._grid(i) for i in range(self._intervals + 1))

    @property
    def most_rates(self) -> int:
        """How many rates are tried at most: the coarse grid, a decade beyond both of its ends, and
        in each round of refinement a middle at both ends of the best and of the window."""
        return self._intervals + 1 + 2 * self._beyond + 4 * self.refine

    @property
    def _intervals(self) -> int:
        return max(1, round(math.log10(self.high / self.low) * self.per_decade))

    @property
    def _is_narrow(self) -> bool:
        """Whether the grid is its two ends, and these are closer than coarse rates are."""
        return round(math.log10(self.high / self.low) * self.per_decade) == 0

    @property
    def _beyond(self) -> int:
        """How many coarse rates a decade is: so far a search may go beyond its grid."""
        if self._is_narrow:
            return self.per_decade
        return max(1, round(self._intervals / math.log10(self.high / self.low)))

    def _grid(self, i: int) -> float:
        """The coarse rate number i; beyond the ends of the grid too, where those of a narrow one
        are as far apart as in others."""
        if self._is_narrow and not 0 <= i <= 1:
            end, steps = (self.low, i) if i < 0 else (self.high, i - 1)
            return three_digits(end * 10 ** (steps / self.per_decade))
        return three_digits(self.low * (self.high / self.low) ** (i / self._intervals))

    def expected_trials(self, n_seeds: int) -> int:
        """The coarse grid and the refinement on the first seed, half of them on the others."""
        first = self._intervals + 1 + 2 * self.refine
        return first + (n_seeds - 1) * (first // 2 if self.window else 1)

    def follow(self, replay: Replay) -> None:
        """The five parts, the last two until they ask for nothing more."""
        first, last = self._start(replay.near)
        self._race(replay, first, last)
        if (first, last) != (0, self._intervals) and self._is_stuck(replay):
            first, last = min(first, 0), max(last, self._intervals)
            self._race(replay, first, last)
        if best_mean(replay.outcomes(1)) is None:  # every rate has failed
            return
        self._extend(replay, first, last)
        for _ in range(self.refine):
            if not self._is_beyond_doubt(replay, self._leaders(replay)[0].mean):
                replay.ask(replay.first(self._gaps(replay)))
        if not self.window:
            _replicate_leaders(replay)
            return
        while True:
            _replicate(replay)
            stopped = _stopped_at_edges(replay)
            if not stopped:
                return
            replay.ask(replay.first(stopped))

    def _start(self, near: float | None) -> tuple[int, int]:
        """The coarse rates of the race, from one to another: those within one of `near`, or all if
        that is not known or the grid is narrow."""
        if near is None or self._is_narrow:
            return 0, self._intervals
        place = math.log(near / self.low) / math.log(self.high / self.low) * self._intervals
        lowest, highest = -self._beyond, self._intervals + self._beyond
        place = min(max(round(place, 2), lowest), highest)  # rates are rounded
        return max(math.ceil(place - 1), lowest), min(math.floor(place + 1), highest)

    def _race(self, replay: Replay, first: int, last: int) -> None:
        everyone = alive = replay.first(map(self._grid, range(first, last + 1)))
        for rung in self._rung_steps(replay):
            reached = replay.ask(alive, rung)
            alive = [trial for trial in alive if trial in reached]
            best = max(reached.values(), default=0.0)
            if best >= (1 + replay.chance) / 2:
                alive = [t for t in alive if not on_plateau(reached[t], replay.chance)]
            if self._is_beyond_doubt(replay, best):
                alive = [t for t in alive if reached[t] >= replay.solved]
        if not replay.ask(alive):  # all of these have failed: those that were stopped go on
            replay.ask(everyone)

    def _is_stuck(self, replay: Replay) -> bool:
        """Whether no rate has left the plateau on the first seed."""
        best = best_mean(replay.outcomes(1))
        return best is None or on_plateau(best, replay.chance)

    def _rung_steps(self, replay: Replay) -> list[int]:
        every = replay.eval_every
        steps = {math.ceil(rung * replay.steps / every) * every for rung in self.rungs}
        return sorted(step for step in steps if step < replay.steps)

    def _extend(self, replay: Replay, first: int, last: int) -> None:
        while not self._is_stuck(replay):
            more = []
            if first > -self._beyond and self._goes_on(replay, first, within=first > 0):
                first -= 1
                more.append(self._grid(first))
            if last < self._intervals + self._beyond and self._goes_on(
                replay, last, within=last < self._intervals
            ):
                last += 1
                more.append(self._grid(last))
            if not more:
                return
            replay.ask(replay.first(more))

    def _goes_on(self, replay: Replay, end: int, *, within: bool) -> bool:
        """Whether rates beyond the one at an end are of interest; `within` the grid, all that may
        belong to the window are."""
        outcomes = {o.learning_rate: o for o in replay.outcomes(1)}
        outcome = outcomes[self._grid(end)]
        best = best_mean(outcomes.values())
        assert best is not None
        if not self.window:
            leader = choose_rate(outcomes.values())
            return outcome is leader and not self._is_beyond_doubt(replay, best)
        if within:
            return bool(outcome.accuracies) and not fails(outcome, best)
        return outcome in tied_range(outcomes.values())

    def _is_beyond_doubt(self, replay: Replay, accuracy: float) -> bool:
        """Whether no other rate could be better, and none is looked for beside the best."""
        return not self.window and accuracy >= replay.solved

    def _leaders(self, replay: Replay) -> list[RateOutcome]:
        """What is looked around on one seed: every rate that ties, or the leader alone."""
        return tied_range(replay.outcomes(1)) if self.window else [_leader(replay)]

    def _gaps(self, replay: Replay) -> list[float]:
        """The middles of the gaps at both ends of the leaders and of the window, on one seed."""
        outcomes = replay.outcomes(1)
        leaders = self._leaders(replay)
        ranges = [(leaders[0].learning_rate, leaders[-1].learning_rate)]
        window = working_window(outcomes, replay.chance)
        if self.window and window is not None:
            ranges.append((window.low, window.high))
        middles = set()
        for low, high in ranges:
            below, above = around(outcomes, low, high)
            if below is not None:
                middles.add(middle(below.learning_rate, low))
            if above is not None:
                middles.add(middle(high, above.learning_rate))
        return sorted(middles)


def _leader(replay: Replay) -> RateOutcome:
    """The rate chosen on the first seed."""
    leader = choose_rate(replay.outcomes(1))
    assert leader is not None
    return leader


def _replicate_leader(replay: Replay) -> None:
    """The other seeds, for the leader; where it fails on one of them, for the next."""
    while True:
        leader = choose_rate(_sound(replay, replay.outcomes(1)))
        if leader is None:
            return
        replay.ask((leader.learning_rate, seed) for seed in replay.seeds)
        if leader.learning_rate not in replay.unknown:
            return


def _sound(replay: Replay, outcomes: Iterable[RateOutcome]) -> list[RateOutcome]:
    """The rates no trial of which failed."""
    return [o for o in outcomes if o.learning_rate not in replay.unknown]


def _replicate_leaders(replay: Replay) -> None:
    """The other seeds, for the leader, and then for the next best while it promises more."""
    _replicate_leader(replay)
    for _ in range(FINALISTS - 1):
        best = best_mean(replay.outcomes())
        if best is None:
            return
        known = {o.learning_rate for o in replay.outcomes() if o.finished}
        promising = choose_rate(
            o
            for o in _sound(replay, replay.outcomes(1))
            if o.accuracies and o.mean > best + TIE and o.learning_rate not in known
        )
        if promising is None:
            return
        replay.ask((promising.learning_rate, seed) for seed in replay.seeds)


def _replicate(replay: Replay) -> None:
    """The other seeds, for all rates that are worth them."""
    _replicate_leader(replay)
    while True:
        worth = _worth_more_seeds(replay)
        if not worth:
            return
        replay.ask((o.learning_rate, replay.seeds[len(o.accuracies)]) for o in worth)


def _worth_more_seeds(replay: Replay) -> list[RateOutcome]:
    """The rates run to the end on some seeds that could work, or be chosen, and lack others."""
    outcomes = replay.outcomes()
    best = best_mean(outcomes)
    if best is None:  # no rate has ended on every seed, and none can
        return []
    begun = [o for o in _sound(replay, outcomes) if o.accuracies]
    if merits_window(best, replay.chance):
        begun = [o for o in begun if not fails(o, best)]
    else:
        begun = sorted(begun, key=lambda o: -o.accuracies[0])[:FINALISTS]
    return [o for o in begun if not o.finished]


def _stopped_at_edges(replay: Replay) -> list[float]:
    """The stopped rates next to the window."""
    outcomes = replay.outcomes()
    window = working_window(outcomes, replay.chance)
    if window is None:
        return []
    neighbours = [o for o in around(outcomes, window.low, window.high) if o is not None]
    return [o.learning_rate for o in _sound(replay, neighbours) if not o.accuracies]


AnySearch = LearningRateSearch | FixedGrid
