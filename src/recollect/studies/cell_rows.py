"""Table rows of one cell, from the trials that its own search used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from recollect.analysis.learning_rate import tied
from recollect.analysis.rate_window import working_window
from recollect.studies.cell import Cell
from recollect.studies.replay import Plan, Trial
from recollect.studies.standing import has_diverged, has_learnt, learnt_searching, steps_used
from recollect.studies.stored_trial import StoredTrial
from recollect.tasks.metric import BUILT_IN

CELL_COLUMNS = ("study", "task", "mixer", "d_model", "n_layers", "attention_window", "recipe")
"""Columns that identify a cell; `recipe` has the model's other non-default settings."""

WHERE_KNOWN = {"attention_window": float}
"""Types of columns that may hold only None."""

TRIAL_COLUMNS = (*CELL_COLUMNS, "learning_rate", "seed", "key", "chosen", "searching")
"""Columns that identify a trial. `chosen`: its rate is the one chosen for its cell (if every rate
diverged, the one that represents them). `searching`: its seed is a search seed. Reported results
are those of chosen trials that are not searching."""

OUTCOME_COLUMNS = (
    "status",
    "step",
    "valid_accuracy",
    "valid_example_accuracy",
    "valid_loss",
    "test_loss",
    "test_accuracy",
    "test_example_accuracy",
    "parameters",
    "device",
    "seconds",
    "failure",
)


def names_of(study: str, cell: Cell) -> dict[str, Any]:
    """The values of `CELL_COLUMNS`."""
    fields = {name: getattr(cell, name) for name in CELL_COLUMNS if name != "study"}
    return {"study": study, **fields}


class CellRows:
    """A cell's plan and the trials that it used, up to the step used. Trials that only other
    studies used are left out."""

    def __init__(
        self, study: str, cell: Cell, plan: Plan, stored: Mapping[Trial, StoredTrial]
    ) -> None:
        self.study, self.cell, self.plan = study, cell, plan
        self.trials = [
            stored[trial].until(until)
            for trial, until in sorted(self.plan.used.items())
            if trial in stored
        ]
        self.steps = steps_used(self.plan, stored)
        self.chosen = plan.chosen
        self.has_diverged = has_diverged(plan, stored)
        self.learnt_searching = learnt_searching(cell, plan, stored)

    def names(self, trial: StoredTrial) -> dict[str, Any]:
        """The values of `TRIAL_COLUMNS`."""
        return names_of(self.study, self.cell) | {
            "learning_rate": trial.learning_rate,
            "seed": trial.seed,
            "key": trial.key,
            "chosen": self.is_chosen(trial),
            "searching": self.is_searching(trial),
        }

    def outcome(self, trial: StoredTrial) -> dict[str, Any]:
        """The values of `OUTCOME_COLUMNS`."""
        return {
            "status": trial.status,
            "step": trial.step,
            "valid_accuracy": trial.valid_accuracy,
            "valid_example_accuracy": trial.valid_example_accuracy,
            "valid_loss": trial.valid_loss,
            "test_loss": trial.test_metric(self.cell.task, "loss"),
            "test_accuracy": trial.test_metric(self.cell.task, "accuracy"),
            "test_example_accuracy": trial.test_metric(self.cell.task, "example_accuracy"),
            "parameters": trial.parameters,
            "device": trial.device,
            "seconds": trial.seconds,
            "failure": trial.failure.message
            if trial.status == "failed" and trial.failure
            else None,
        }

    @property
    def further(self) -> list[str]:
        """Names of the metrics besides those that every trial has."""
        measured = (name for trial in self.trials for name in trial.test.get(self.cell.task, ()))
        return [name for name in dict.fromkeys(measured) if name not in BUILT_IN]

    def further_outcome(self, trial: StoredTrial) -> dict[str, float]:
        """Values of these metrics for one trial, on test examples."""
        return {f"test_{name}": trial.test_metric(self.cell.task, name) for name in self.further}

    def is_chosen(self, trial: StoredTrial) -> bool:
        """Whether the trial's rate was chosen."""
        return self.chosen is not None and trial.learning_rate == self.chosen.learning_rate

    def is_searching(self, trial: StoredTrial) -> bool:
        """Whether the trial's seed is a search seed."""
        return trial.seed in self.cell.search.own_seeds

    def reported(self) -> list[StoredTrial]:
        """Trials at the chosen rate on the study's seeds; empty if every rate diverged."""
        if self.has_diverged:
            return []
        return [t for t in self.trials if self.is_chosen(t) and not self.is_searching(t)]

    def row(self) -> dict[str, Any]:
        """The row of `cells_frame`."""
        return {
            **names_of(self.study, self.cell),
            "done": self.plan.done,
            "finished": self.plan.done and not self.plan.failed,
            "chance": self.cell.chance,
            "marginal_loss": self.cell.marginal_loss,
            **self._choice(),
            **self._evidence(),
            **self._window(),
            **self._accuracies(),
            "parameters": next((t.parameters for t in self.trials if t.parameters), None),
            "trials": len(self.trials),
            "failed": len(self.plan.failed),
            "diverged": sum(trial.status == "diverged" for trial in self.trials),
            "search_steps": self.steps,
            "seconds": sum(trial.seconds for trial in self.trials),
        }

    def _choice(self) -> dict[str, Any]:
        if self.chosen is None or self.has_diverged:
            return {"learning_rate": None, "at_edge": None, "choice_merit": None}
        return {
            "learning_rate": self.chosen.learning_rate,
            "at_edge": self._is_at_edge(),
            "choice_merit": self.chosen.mean,
        }

    def _is_at_edge(self) -> bool:
        """Whether a rate beyond those tried may be better. That of a model that has not learnt
        goes without saying."""
        assert self.chosen is not None
        if self.chosen.mean >= self.cell.solved or has_learnt(self.plan, self.cell.floor) is False:
            return False
        return any(map(self._ties_at, (0, -1)))

    def _ties_at(self, end: int) -> bool:
        """Whether the lowest (0) or highest (-1) rate ties with the best, on the seeds of the
        search on which it ran to its end."""
        rate, *_ = self.plan.candidates[end : end + 1 or None]
        seeds = len(rate.accuracies)
        if not seeds or self.plan.rates is None or rate.learning_rate != self.plan.rates[end]:
            return False
        known = [
            outcome.on_first(seeds)
            for outcome in self.plan.candidates
            if len(outcome.accuracies) >= seeds
        ]
        return rate.on_first(seeds) in tied(known, self.cell.solved)

    def _evidence(self) -> dict[str, Any]:
        """Evidence for the choice: how many rates competed, and what was tried."""
        learnt = has_learnt(self.plan, self.cell.floor)
        # that a model has not learnt says nothing of rates that were stopped
        rates = self.plan.ended if learnt is False else self.plan.rates
        lowest, highest = rates or (None, None)
        return {
            "choices": 1 if self.cell.search.own_seeds else len(self.plan.candidates),
            "learnt": learnt,
            "learnt_searching": self.learnt_searching,
            "searching_seeds": len(self.cell.choosing_seeds),
            "lowest_rate": lowest,
            "highest_rate": highest,
            "budget": self.cell.steps,
        }

    def _window(self) -> dict[str, Any]:
        window = None
        if self.chosen is not None and self.cell.search.measures_window:
            rate = self.chosen.learning_rate
            window = working_window(self.plan.outcomes, self.cell.floor, rate)
        return {
            "window": None if window is None else str(window),
            "window_decades": None if window is None else window.decades,
            "window_low": None if window is None else window.low_edge,
            "window_high": None if window is None else window.high_edge,
            "window_low_open": None if window is None else not window.low_is_edge,
            "window_high_open": None if window is None else not window.high_is_edge,
        }

    def _accuracies(self) -> dict[str, Any]:
        """Results at the chosen rate over the study's seeds."""
        reported = self.reported()
        trials = pd.DataFrame([self.outcome(trial) for trial in reported])
        if trials.empty:
            trials = pd.DataFrame(columns=list(OUTCOME_COLUMNS), dtype=float)
        measured = pd.DataFrame([self.further_outcome(trial) for trial in reported])
        return {
            "test_loss": trials["test_loss"].mean(),
            "test_accuracy": trials["test_accuracy"].mean(),
            "test_accuracy_min": trials["test_accuracy"].min(),
            "test_accuracy_max": trials["test_accuracy"].max(),
            "test_example_accuracy": trials["test_example_accuracy"].mean(),
            "valid_accuracy": trials["valid_accuracy"].mean(),
            **{str(name): measured[name].mean(skipna=False) for name in measured},
            **{f"{name}_min": measured[name].min(skipna=False) for name in measured},
            **{f"{name}_max": measured[name].max(skipna=False) for name in measured},
            **{k: value for label in self._test_labels() for k, value in self._further(label)},
            "seeds": len(trials),
            "steps": trials["step"].mean(),
        }

    def _test_labels(self) -> Sequence[str]:
        """Labels of the further test tasks; in older stores those of the trials."""
        measured = {label for trial in self.trials for label in trial.test} - {self.cell.task}
        return self.cell.test_labels or sorted(measured)

    def _further(self, label: str) -> Iterator[tuple[str, float]]:
        """Mean, lowest and highest accuracy on a further test task, by column."""
        found = [trial.test_metric(label, "accuracy") for trial in self.reported()]
        values = pd.Series(found, dtype=float)
        yield f"test_accuracy[{label}]", float(values.mean())
        yield f"test_accuracy_min[{label}]", float(values.min())
        yield f"test_accuracy_max[{label}]", float(values.max())
