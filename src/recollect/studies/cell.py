"""One cell of a study: a task, a model and a search for its learning rate, as plain data.

A cell can be read from its JSON without the classes of its task and mixer, so tables can be made
without the models and the user's code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import field_validator, model_serializer

from recollect.analysis.learning_rate import SOLVED
from recollect.config import Config, digest, without_defaults
from recollect.errors import UserError
from recollect.models.config import common_window
from recollect.studies.replay import Plan, Trials
from recollect.studies.search import AnySearch
from recollect.training.config import trial_key

CELL_NAMES = ("task", "mixer", "d_model", "n_layers", "recipe")
"""Fields that identify a cell within its study."""
DERIVED = ("test_labels", "learned_positions", "untrained_positions", "untrained_weights")
"""Fields that follow from the template and the classes that it names."""


class Cell(Config):
    """A combination of task and model that is tuned on its own; one row of a table.

    Attributes:
        task: label of the task.
        mixer: label of the mixer.
        d_model: width.
        n_layers: depth.
        recipe: other settings of the model that differ from the defaults, such as `mlp=gelu`.
        chance: chance level of the accuracy.
        guess_loss: if trials are judged by a loss, the loss of a model that knows nothing; None:
            they are judged by accuracy or another metric for which higher is better.
        marginal_loss: loss of the best prediction without reading the input; None if unknown.
        seeds: the seeds on which the chosen rate runs.
        search: the learning rate search.
        numerics: the numerics version of the trainer.
        template: the canonical config of the cell's trials, without learning rate and seeds.
        guess: score of a model that has learnt nothing, if the search has a metric other than
            accuracy; None: it is `chance`, or follows from the losses if trials are judged by loss.
        test_labels: labels of the further test tasks, in the order of the study; empty if there are
            none, and in older stores.
        learned_positions: for models with positions="auto", whether they have learned position
            embeddings; None for others, and in older stores.
        untrained_positions: labels of the further test tasks that are longer than the training
            task, for models with learned position embeddings; empty for others, and in older
            stores.
        untrained_weights: labels of the further test tasks in which weights of mixers act that no
            example of the training task is long enough for; empty in older stores.
    """

    task: str
    mixer: str
    d_model: int
    n_layers: int
    recipe: str
    chance: float
    guess_loss: float | None = None
    marginal_loss: float | None = None
    seeds: tuple[int, ...]
    search: AnySearch
    numerics: int
    template: dict[str, Any]
    guess: float | None = None
    test_labels: tuple[str, ...] = ()
    learned_positions: bool | None = None
    untrained_positions: tuple[str, ...] = ()
    untrained_weights: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Cell], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, fields, ("guess", *DERIVED))

    @field_validator("search", mode="before")
    @classmethod
    def _of_older_stores(cls, search: Any) -> Any:
        """Convert searches of older stores, where one class had a switch and used the study's
        seeds."""
        if isinstance(search, dict) and is_older(search):
            rest = {name: value for name, value in search.items() if name != "window"}
            kind = "window" if search["window"] else "best-rate"
            return {**rest, "kind": kind, "search_seeds": 0}
        return search

    @property
    def id(self) -> str:
        """Identity that the cell's trials share. Cells of several studies can share trials,
        whatever their searches and seeds."""
        return cell_id(self.numerics, self.template)

    @property
    def label(self) -> str:
        """The cell's `CELL_NAMES` in one line."""
        size = f"{self.task} {self.mixer} d_model={self.d_model} n_layers={self.n_layers}"
        return f"{size} {self.recipe}".rstrip()

    @property
    def attention_window(self) -> int | None:
        """The model's sliding attention window; None without one, or if layers have different
        windows."""
        return common_window(layer["options"] for layer in self.template["model"]["mixer"])

    @property
    def choosing_seeds(self) -> tuple[int, ...]:
        """Seeds on which the rate is chosen: the search's own, or else the study's."""
        return self.search.own_seeds or self.seeds

    @property
    def steps(self) -> int:
        """Optimiser steps of a trial."""
        return int(self.template["train"]["steps"])

    @property
    def solved(self) -> float:
        """Score at which a trial has solved its task; at most the accuracy at which trials stop
        early."""
        stop = self.template["train"]["stop_accuracy"]
        return SOLVED if stop is None or self.judged_by != "accuracy" else min(SOLVED, stop)

    @property
    def floor(self) -> float:
        """Score of a model that has learnt nothing."""
        if self.guess is not None:
            return self.guess
        if self.guess_loss is None:
            return self.chance
        return blind_score(self.guess_loss, self.marginal_loss)

    @property
    def judged_by(self) -> str:
        """Name of the metric that the search optimises."""
        return self.search.metric or ("accuracy" if self.guess_loss is None else "loss")

    def score(self, valid: Mapping[str, float | None]) -> float | None:
        """Score of a validation, from 0 to 1, which the search maximises.

        It is the metric `judged_by`; for a loss, the fraction by which it is below `guess_loss`.
        None if that metric is missing or NaN.

        Raises:
            UserError: for a value that is not from 0 to 1, or below 0 where lower is better.
        """
        value = valid.get(self.judged_by)
        if value is None:
            has_diverged = valid.get("loss") is None
            return 0.0 if has_diverged else None
        if self.guess_loss is None and not 0 <= value <= 1:
            raise UserError(
                f"{self.label}: the search maximises {self.judged_by}, which is {value} in a"
                " validation: expected a number from 0 to 1; if lower is better, register the"
                " metric with lower_is_better=True"
            )
        if value < 0:
            raise UserError(
                f"{self.label}: the search minimises {self.judged_by}, which is {value} in a"
                " validation: expected 0 or more"
            )
        return value if self.guess_loss is None else max(0.0, 1 - value / self.guess_loss)

    def score_error(
        self, valid: Mapping[str, float | None], errors: Mapping[str, float | None]
    ) -> float:
        """Standard error of a score over the validation examples. If unknown, it is computed for
        one answer per example, or taken as 0 for a loss."""
        error = errors.get(self.judged_by)
        if self.guess_loss is not None:
            return (error or 0.0) / self.guess_loss
        if error is not None:
            return error
        share = valid[self.judged_by] or 0.0
        return math.sqrt(share * (1 - share) / self.template["train"]["valid_examples"])

    def group_scores(self, losses: Sequence[float | None]) -> tuple[float, ...]:
        """Scores of groups of the validation examples up to a constant, by which the differences of
        two trials are judged; empty if trials are not judged by the loss, or if a loss is unknown
        or not finite.

        Args:
            losses: mean loss of each group in nats.
        """
        if self.judged_by != "loss" or self.guess_loss is None:
            return ()
        known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
        if len(known) < len(losses):
            return ()
        return tuple(-loss / self.guess_loss for loss in known)

    def trial(self, learning_rate: float, seed: int) -> dict[str, Any]:
        """Canonical config of one trial, as arguments of `TrialConfig`."""
        return {
            **self.template,
            "train": {**self.template["train"], "learning_rate": float(learning_rate)},
            "seeds": {"data": seed, "init": seed, "order": seed},
        }

    def key(self, learning_rate: float, seed: int) -> str:
        """Key of one trial."""
        return trial_key(self.numerics, self.trial(learning_rate, seed))

    def plan(self, trials: Trials, near: float | None = None) -> Plan:
        """Plan the trials that the cell needs next, given the stored ones and the rate chosen at
        the next smaller width."""
        return self.search.plan(
            trials,
            seeds=self.seeds,
            steps=self.steps,
            eval_every=int(self.template["train"]["eval_every"]),
            chance=self.floor,
            solved=self.solved,
            near=near,
        )


def blind_score(guess_loss: float, marginal_loss: float | None) -> float:
    """Score of the best prediction without reading the input, where trials are judged by loss."""
    return 0.0 if marginal_loss is None else max(0.0, 1 - marginal_loss / guess_loss)


def cell_id(numerics: int, template: Mapping[str, Any]) -> str:
    """Identity of a cell, see `Cell.id`."""
    return digest({"numerics": numerics, "template": template})


def is_older(search: Mapping[str, Any]) -> bool:
    """Whether a stored search is of an older version, which had one class for both searches."""
    return "window" in search
