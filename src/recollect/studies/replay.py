"""Replay of a search over stored results.

A search is a procedure that asks for the scores of trials: validation accuracies, or values
computed from another metric (`Cell.score`). A plan replays the procedure from the beginning over
the stored results. It stops at the first missing scores, which become its requests. So a plan
depends only on results: not on the order in which trials ended, on interruptions, or on other
studies in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from recollect.analysis.learning_rate import RateOutcome

if TYPE_CHECKING:
    from typing_extensions import Self

StoredStatus = Literal["complete", "stopped", "diverged", "failed"]
"""Status of a stored trial: one of `training.result.Status`, or failed (it raised an exception or
its process died)."""


@dataclass(frozen=True)
class Progress:
    """The progress of a trial.

    Attributes:
        status: how it ended, or "stopped".
        step: optimiser steps done.
        scores: scores of the validations, by step.
        errors: standard errors of the scores over examples, by step; scores without one are exact.
        groups: scores of groups of the validation examples, by step, up to a constant that all
            trials share; missing where they are unknown.
    """

    status: StoredStatus
    step: int
    scores: Mapping[int, float]
    errors: Mapping[int, float] = field(default_factory=dict, kw_only=True)
    groups: Mapping[int, tuple[float, ...]] = field(default_factory=dict, kw_only=True)

    def reached(self, until: int | None) -> bool:
        """Whether the trial has reached the step `until` (None: its end) or ended before."""
        return self.status != "stopped" or (until is not None and self.step >= until)

    def is_unknown(self, until: int | None) -> bool:
        """Whether the trial failed before the step `until` (None: its end), so its score is
        unknown."""
        return self.status == "failed" and (until is None or self.step < until)

    def score(self, until: int | None) -> float:
        """Score at the step `until`, or at the last step if that is earlier; 0 if the trial had
        diverged by then."""
        past = self.until(until)
        return 0.0 if past.status == "diverged" else past.scores[past.step]

    def error(self) -> float:
        """Standard error of the last score; 0 if the trial diverged."""
        return 0.0 if self.status == "diverged" else self.errors.get(self.step, 0.0)

    def group_scores(self) -> tuple[float, ...]:
        """Scores of the groups at the last step; empty if they are unknown or the trial
        diverged."""
        return () if self.status == "diverged" else self.groups.get(self.step, ())

    def until(self, step: int | None) -> Self:
        """The trial as it was at a step; unchanged if it did not get further. A trial that failed
        after the step is returned as stopped there."""
        came_further = step is not None and (
            self.step > step or (self.step == step and self.status == "failed")
        )
        if step is None or not came_further:
            return self
        past = {at: score for at, score in self.scores.items() if at <= step}
        return replace(self, status="stopped", step=step, scores=past)


Trial = tuple[float, int]
"""Learning rate and seed of a trial of a cell."""

Trials = Mapping[Trial, Progress]
"""Stored trials of a cell."""


@dataclass(frozen=True)
class Request:
    """A trial that is needed up to a step; None: to its end."""

    learning_rate: float
    seed: int
    until: int | None


@dataclass(frozen=True)
class Plan:
    """The trials that a search needs, and the results that it used.

    Attributes:
        requests: the trials needed next, the most urgent first; empty when the search is done.
        used: the step up to which each trial was used; None: to its end.
        outcomes: the reported results: each rate tried on the study's seeds, with its finished
            trials on them.
        candidates: the results that decide: each rate tried on the search seeds without failure,
            with its finished trials on them.
        chosen: the chosen candidate; None: there is none yet.
        rates: the lowest and the highest rate trained without failure; None: there is none yet.
        failed: trials that failed before the step that was needed.
        waiting: whether the search waits for another cell.
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
        """Whether the search needs no more trials."""
        return not self.requests and not self.waiting

    @property
    def ended(self) -> tuple[float, float] | None:
        """Lowest and highest rate with a trial that ran to its end; None: there is none yet."""
        rates = [o.learning_rate for o in (*self.candidates, *self.outcomes) if o.accuracies]
        return (min(rates), max(rates)) if rates else None


WAITING = Plan((), {}, (), (), waiting=True)
"""Plan of a cell that waits for another."""


class Missing(Exception):
    """Scores that the search needs are missing."""


@dataclass
class Replay:
    """Stored results, from which a search reads scores.

    Attributes:
        trials: stored trials of the cell.
        seeds: the study's seeds, on which the chosen rate runs and is reported.
        choosing: the search seeds, on which the rate is chosen.
        steps: optimiser steps of a trial.
        eval_every: steps between validations.
        chance: score of a model that has learnt nothing.
        solved: score at which a trial has solved its task.
        near: the rate chosen at the next smaller width; None if unknown.
        requests: missing trials.
        used: the step up to which each trial was used; None: to its end.
        chosen: the rate that the search has chosen.
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
        """Scores of some trials at a step or, for None, at their end; without failed trials.

        Raises:
            Missing: if any score is missing; all missing ones become requests.
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
            trial: self.trials[trial].score(until)
            for trial in trials
            if not self.trials[trial].is_unknown(until)
        }

    @property
    def failed(self) -> frozenset[Trial]:
        """Trials that failed before the step that was needed."""
        return frozenset(
            trial
            for trial, until in self.used.items()
            if trial in self.trials and self.trials[trial].is_unknown(until)
        )

    @property
    def unknown(self) -> set[float]:
        """Rates with failed trials. Their scores are unknown, not bad, and they get no more
        trials."""
        return {rate for rate, _ in self.failed}

    @property
    def rates(self) -> tuple[float, float] | None:
        """Lowest and highest rate with a stored trial, without the unknown rates."""
        tried = {rate for rate, seed in self.used if (rate, seed) in self.trials} - self.unknown
        return (min(tried), max(tried)) if tried else None

    def on_first(self, rates: Iterable[float]) -> list[Trial]:
        """Trials of these rates on the first search seed."""
        return [(rate, self.choosing[0]) for rate in rates]

    def candidates(self, n_seeds: int | None = None) -> tuple[RateOutcome, ...]:
        """Rates tried on the first `n_seeds` (None: all) search seeds, without those with failed
        trials."""
        tried = self.outcomes(self.choosing[:n_seeds])
        return tuple(o for o in tried if o.learning_rate not in self.unknown)

    def outcomes(self, seeds: Sequence[int]) -> tuple[RateOutcome, ...]:
        """Every rate requested on some of these seeds, with its finished trials on them."""
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
            scores = tuple(trial.score(None) for trial in found)
            errors = tuple(trial.error() for trial in found)
            groups = tuple(trial.group_scores() for trial in found)
            return RateOutcome(rate, scores, len(seeds), errors, groups if all(groups) else ())

        return tuple(map(outcome, sorted({rate for rate, seed in self.used if seed in seeds})))


def _further(one: int | None, other: int | None) -> int | None:
    """The later of two steps; None means the end."""
    return None if one is None or other is None else max(one, other)
