"""What a search reads and what it asks for.

A search is a procedure that asks for the merits of trials: their validation accuracies, or what
stands for these where loss counts (`Cell.merit`). A plan replays it from the beginning over what is
stored: at the first merits that are missing it stops, and they are its requests. So a plan is a
function of results and of nothing else: it does not matter which trial ended first, nor how often
the study was killed, nor what else other studies have left in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from recollect.analysis.learning_rate import RateOutcome

if TYPE_CHECKING:
    from typing_extensions import Self

StoredStatus = Literal["complete", "stopped", "diverged", "failed"]
"""How a trial stands in a store: as `training.result.Status` has it, or failed: it raised, or the
process that trained it died."""


@dataclass(frozen=True)
class Progress:
    """How far a trial has come.

    Attributes:
        status: how it ended, or "stopped".
        step: optimiser steps done.
        merits: what validations gave, by step.
        errors: standard errors of the merits over the examples they were measured on, by step; a
            merit without one is exact.
    """

    status: StoredStatus
    step: int
    merits: Mapping[int, float]
    errors: Mapping[int, float] = field(default_factory=dict, kw_only=True)

    def reached(self, until: int | None) -> bool:
        """Whether nothing more is to be had of it up to the step `until`, or for None to its
        end."""
        return self.status != "stopped" or (until is not None and self.step >= until)

    def is_unknown(self, until: int | None) -> bool:
        """Whether it failed before the step `until`, or for None before its end: then nobody knows
        what it would have given."""
        return self.status == "failed" and (until is None or self.step < until)

    def merit(self, until: int | None) -> float:
        """The merit at the step `until`, or at the last if that came first; 0 if the trial had
        diverged by then. What came after `until` is not looked at."""
        past = self.until(until)
        return 0.0 if past.status == "diverged" else past.merits[past.step]

    def error(self) -> float:
        """The standard error of the last merit; what diverged is exact."""
        return 0.0 if self.status == "diverged" else self.errors.get(self.step, 0.0)

    def until(self, step: int | None) -> Self:
        """The trial as it was at a step; itself, if it came no further. One that failed after the
        step had been stopped there."""
        came_further = step is not None and (
            self.step > step or (self.step == step and self.status == "failed")
        )
        if step is None or not came_further:
            return self
        past = {at: merit for at, merit in self.merits.items() if at <= step}
        return replace(self, status="stopped", step=step, merits=past)


Trial = tuple[float, int]
"""A trial of a cell: its learning rate and its seed."""

Trials = Mapping[Trial, Progress]
"""What is stored of a cell."""


@dataclass(frozen=True)
class Request:
    """A trial that is needed up to a step; None: to its end."""

    learning_rate: float
    seed: int
    until: int | None


@dataclass(frozen=True)
class Plan:
    """What a search needs, and what it went by.

    Attributes:
        requests: the trials needed next, the most urgent first; empty when the search is done.
        used: how far each trial was looked at, None: to its end.
        outcomes: what is reported: each rate tried on the study's seeds, with its finished trials
            on these.
        candidates: what the rate is chosen by: each rate tried on the seeds that choose, but for
            those that failed, with its finished trials on these.
        chosen: the candidate that is chosen; None: there is none yet.
        rates: the lowest and the highest rate that was trained, of those that did not fail; None:
            there is none yet.
        failed: the trials that failed before the step that was needed of them.
        waiting: whether it begins only when another cell is done.
    """

    requests: tuple[Request, ...]
    used: Mapping[Trial, int | None]
    outcomes: tuple[RateOutcome, ...]
    candidates: tuple[RateOutcome, ...]
    chosen: RateOutcome | None = None
    rates: tuple[float, float] | None = None
    failed: frozenset[Trial] = frozenset()
    waiting: bool = False

    @property
    def done(self) -> bool:
        """Whether the search has all it needs."""
        return not self.requests and not self.waiting


WAITING = Plan((), {}, (), (), waiting=True)
"""Of a cell that waits for another."""


class Missing(Exception):
    """Merits that the search needs to go on are not there yet."""


@dataclass
class Replay:
    """Stored results, as a search asks for them.

    Attributes:
        trials: what is stored of the cell.
        seeds: of the study: every one of which the chosen rate is run on, and reported.
        choosing: the seeds on which the rate is chosen.
        steps: the budget of a trial.
        eval_every: steps between validations.
        chance: accuracy of guessing.
        solved: accuracy of a trial that leaves nothing to improve.
        near: the rate chosen at the next smaller width, if that is known.
        requests: what is missing.
        used: how far each trial was looked at.
        chosen: the rate that the search has come to.
    """

    trials: Trials
    seeds: tuple[int, ...]
    choosing: tuple[int, ...]
    steps: int
    eval_every: int
    chance: float
    solved: float
    near: float | None = None
    requests: list[Request] = field(default_factory=list)
    used: dict[Trial, int | None] = field(default_factory=dict)
    chosen: RateOutcome | None = None

    def ask(self, wanted: Iterable[Trial], until: int | None = None) -> dict[Trial, float]:
        """The merits of some trials at a step or, for None, at their end; without those that failed
        before.

        Raises:
            Missing: while any of them is; all that are missing become requests.
        """
        trials = list(wanted)
        self.used |= {trial: _further(self.used.get(trial, until), until) for trial in trials}
        self.requests += [
            Request(*trial, until)
            for trial in trials
            if trial not in self.trials or not self.trials[trial].reached(until)
        ]
        if self.requests:
            raise Missing
        return {
            trial: self.trials[trial].merit(until)
            for trial in trials
            if not self.trials[trial].is_unknown(until)
        }

    @property
    def failed(self) -> frozenset[Trial]:
        """The trials that failed before the step that was needed of them."""
        return frozenset(
            trial
            for trial, until in self.used.items()
            if trial in self.trials and self.trials[trial].is_unknown(until)
        )

    @property
    def unknown(self) -> set[float]:
        """The rates of these: no more is asked of them, and what they would give is unknown, which
        is not the same as bad."""
        return {rate for rate, _ in self.failed}

    @property
    def rates(self) -> tuple[float, float] | None:
        """The lowest and the highest rate of which a trial is stored, but for the unknown."""
        tried = {rate for rate, seed in self.used if (rate, seed) in self.trials} - self.unknown
        return (min(tried), max(tried)) if tried else None

    def on_first(self, rates: Iterable[float]) -> list[Trial]:
        """These rates on the first seed that chooses."""
        return [(rate, self.choosing[0]) for rate in rates]

    def candidates(self, n_seeds: int | None = None) -> tuple[RateOutcome, ...]:
        """The rates tried on the first `n_seeds` (None: all) of the seeds that choose, but for
        those that failed on any."""
        tried = self.outcomes(self.choosing[:n_seeds])
        return tuple(o for o in tried if o.learning_rate not in self.unknown)

    def outcomes(self, seeds: Sequence[int]) -> tuple[RateOutcome, ...]:
        """Every rate asked for on some of these seeds, with its trials on them that were asked for
        to the end and have reached it."""
        ends = {
            trial: self.trials[trial]
            for trial, until in self.used.items()
            if until is None
            and trial in self.trials
            and self.trials[trial].reached(None)
            and not self.trials[trial].is_unknown(None)
        }

        def outcome(rate: float) -> RateOutcome:
            found = [ends[rate, seed] for seed in seeds if (rate, seed) in ends]
            merits = tuple(trial.merit(None) for trial in found)
            return RateOutcome(rate, merits, len(seeds), tuple(trial.error() for trial in found))

        return tuple(map(outcome, sorted({rate for rate, seed in self.used if seed in seeds})))


def _further(one: int | None, other: int | None) -> int | None:
    """The later of two steps; None is the end."""
    return None if one is None or other is None else max(one, other)
