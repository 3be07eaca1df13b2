"""The search for the best learning rate.

Its stages are functions of a `Replay`, in the order in which they run.
"""

from __future__ import annotations

import math
from typing import Literal

from recollect.analysis.learning_rate import RateOutcome, choose_rate, on_plateau, ties_at_ends
from recollect.analysis.rate_window import around, best_mean
from recollect.studies.rate_range import RangeSearch
from recollect.studies.rates import middle
from recollect.studies.replay import Replay, Trial

FINALISTS = 3
"""Largest number of rates that are compared on all search seeds."""


class BestRateSearch(RangeSearch):
    """Finds the best rate; does not measure the window of working rates.

    1. Race: all coarse rates run on the first search seed. If the rate chosen at the next smaller
       width is known, its neighbours run first, and the others only if none of them solves the
       task. At each rung, rates still on the initial plateau are stopped if the leader is at least
       halfway from chance level to 1; if the leader has solved the task, all others are stopped.
    2. Resume: unless the leader has solved the task, stopped rates run to their ends, the most
       promising first, because one of them could still win.
    3. Ends: while the lowest or highest tried rate ties with the best, one more rate beyond it is
       tried, up to a decade beyond the grid and beyond 1e-4 to 1e-1. If no rate has left the
       plateau, rates on both sides are added until all of 1e-4 to 1e-1 is tried.
    4. Refinement: the midpoints (in log) between the leader and its neighbours are tried.
    5. Finalists: the leader runs on the other search seeds. Until a rate has solved the task on
       all of them, the next best runs too, up to three rates. The rate with the best mean is
       chosen; of tied rates, the middle one.
    6. The chosen rate runs on the seeds of the study.

    Once a rate has solved the task, no others are tried. A rate with a failed trial is unknown, not
    bad: it is not chosen and gets no more trials, and the next best takes its place. If the rate
    beside it ties with the best, one more beyond it is tried.

    At most `most_rates` rates are tried.
    """

    kind: Literal["best-rate"] = "best-rate"

    @property
    def measures_window(self) -> bool:
        """Always False."""
        return False

    @property
    def most_rates(self) -> int:
        """Largest number of rates that are tried."""
        lowest, highest = self.limits
        return highest - lowest + 1 + 2 * self.refine

    def follow(self, replay: Replay) -> None:
        """Run the six stages."""
        choose(self, replay)

    def expected_trials(self, n_seeds: int) -> int:
        """Expected trials: grid and refinement on one seed, two finalists, and the study's
        seeds."""
        return trials_to_choose(self, n_seeds)


def trials_to_choose(search: RangeSearch, n_seeds: int) -> int:
    """Expected number of trials until the chosen rate has run on all seeds."""
    first = search.last + 1 + 2 * search.refine
    if search.search_seeds == 0:
        return first + 2 * (n_seeds - 1)
    return first + 2 * (search.search_seeds - 1) + n_seeds


def choose(search: RangeSearch, replay: Replay) -> None:
    """Find the best rate and run it on the seeds of the study."""
    first, last = _race(search, replay)
    _resume(replay)
    _look_beyond(search, replay, first, last)
    for _ in range(search.refine):
        _refine(replay)
    while True:
        _compare_finalists(replay)
        chosen = choose_rate(replay.candidates(), replay.solved)
        if chosen is None:  # every rate has failed
            return
        replay.ask((chosen.learning_rate, seed) for seed in replay.seeds)
        if chosen.learning_rate not in replay.unknown:
            replay.chosen = chosen
            return


def _race(search: RangeSearch, replay: Replay) -> tuple[int, int]:
    """Stage 1; returns the numbers of the lowest and the highest coarse rate tried."""
    first, last = _start(search, replay.near)
    _race_between(search, replay, first, last)
    if (first, last) != (0, search.last) and not _is_solved(replay):
        first, last = min(first, 0), max(last, search.last)
        _race_between(search, replay, first, last)
    return first, last


def _start(search: RangeSearch, near: float | None) -> tuple[int, int]:
    """First and last coarse rate of the race: those within one of `near`; all if it is unknown or
    the grid is narrow."""
    if near is None or search.is_narrow:
        return 0, search.last
    lowest, highest = search.limits
    place = min(max(search.place(near), lowest), highest)
    return max(math.ceil(place - 1), lowest), min(math.floor(place + 1), highest)


def _race_between(search: RangeSearch, replay: Replay, first: int, last: int) -> None:
    alive = replay.on_first(map(search.rate, range(first, last + 1)))
    for rung in search.rung_steps(replay.steps, replay.eval_every):
        reached = replay.ask(alive, rung)
        alive = [trial for trial in alive if trial in reached]
        best = max(reached.values(), default=0.0)
        if best >= (1 + replay.chance) / 2:
            alive = [t for t in alive if not on_plateau(reached[t], replay.chance)]
        if best >= replay.solved:
            alive = [t for t in alive if reached[t] >= replay.solved]
    replay.ask(alive)


def _is_solved(replay: Replay, beside: frozenset[float] = frozenset()) -> bool:
    """Whether a rate other than those in `beside` has solved the task on the first seed."""
    best = best_mean(o for o in replay.candidates(1) if o.learning_rate not in beside)
    return best is not None and best >= replay.solved


def _resume(replay: Replay, beside: frozenset[float] = frozenset()) -> None:
    """Run stopped rates to their ends until a rate outside `beside` has solved the task."""
    while not _is_solved(replay, beside):
        stopped = [
            (trial, until)
            for trial, until in replay.used.items()
            if until is not None and trial not in replay.failed
        ]
        if not stopped:
            return
        leader = choose_rate(replay.candidates(1), replay.solved)

        def promise(stop: tuple[Trial, int], leader: RateOutcome | None = leader) -> list[float]:
            (rate, seed), until = stop
            far = 0.0 if leader is None else abs(math.log(rate / leader.learning_rate))
            return [replay.trials[rate, seed].score(until), -round(far, 6), -rate]

        replay.ask([max(stopped, key=promise)[0]])


def _look_beyond(search: RangeSearch, replay: Replay, first: int, last: int) -> None:
    """Try coarse rates beyond the ends while the best rate may lie there."""
    while not _is_solved(replay):
        best = best_mean(replay.candidates(1))
        if best is None:  # every rate has failed
            return
        if on_plateau(best, replay.chance):
            (lowest, highest), down, up = search.full, True, True
        else:
            lowest, highest = search.limits
            down, up = ties_at_ends(replay.candidates(1), replay.solved)
        more = []
        if down and first > lowest:
            first -= 1
            more.append(search.rate(first))
        if up and last < highest:
            last += 1
            more.append(search.rate(last))
        if not more:
            return
        replay.ask(replay.on_first(more))


def _refine(replay: Replay) -> None:
    """Try the midpoints between the leader and its neighbours, unless it has solved the task."""
    leader = choose_rate(replay.candidates(1), replay.solved)
    if leader is None or _is_solved(replay):
        return
    rate = leader.learning_rate
    below, above = around(replay.outcomes(replay.choosing[:1]), rate, rate)
    replay.ask(
        replay.on_first(middle(rate, o.learning_rate) for o in (below, above) if o is not None)
    )


def _compare_finalists(replay: Replay) -> None:
    """Run the best rates of the first seed on all search seeds, until one has solved the task."""
    while True:
        known = [o for o in replay.candidates() if o.finished]
        if len(known) >= FINALISTS or any(o.has_solved(replay.solved) for o in known):
            return
        rates = frozenset(o.learning_rate for o in known)
        _resume(replay, rates)
        rest = [o for o in replay.candidates(1) if o.learning_rate not in rates]
        following = choose_rate(rest, replay.solved)
        if following is None:
            return
        replay.ask((following.learning_rate, seed) for seed in replay.choosing)
