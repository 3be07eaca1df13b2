"""One cell of a study: a task, a model and a search for its learning rate, as plain data.

A cell can be read back from its JSON without the classes of its task and mixer, so that a table can
be made where neither a model nor the user's code is at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import field_validator, model_serializer

from recollect.analysis.learning_rate import SOLVED
from recollect.config import Config, digest, without_defaults
from recollect.errors import UserError
from recollect.studies.replay import Plan, Trials
from recollect.studies.search import AnySearch
from recollect.training.config import trial_key

CELL_NAMES = ("task", "mixer", "d_model", "n_layers", "recipe")
"""What tells a cell from the others of its study."""


class Cell(Config):
    """What is tuned on its own and becomes one row of a table.

    Attributes:
        task: label of the task.
        mixer: label of the mixer.
        d_model: width.
        n_layers: depth.
        recipe: the model's other settings, those that are not the defaults: `mlp=gelu`.
        chance: accuracy of guessing.
        guess_loss: where trials are judged by a loss, that of a model that knows nothing; None:
            they are judged by accuracy, or another metric of which more is better.
        marginal_loss: of the best answer that reads nothing; None where it is not known.
        seeds: every one of which the chosen rate is run on.
        search: how the rate is found.
        numerics: the numerics version of the trainer.
        template: the canonical config of the cell's trials, without learning rate and seeds.
        guess: where trials are judged by another metric than accuracy, the merit of a model that
            has learnt nothing; None: that is `chance`.
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

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Cell], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, fields, ("guess",))

    @field_validator("search", mode="before")
    @classmethod
    def _of_older_stores(cls, search: Any) -> Any:
        """They have one search with a switch, which chose on the study's seeds."""
        if isinstance(search, dict) and is_older(search):
            rest = {name: value for name, value in search.items() if name != "window"}
            kind = "window" if search["window"] else "best-rate"
            return {**rest, "kind": kind, "search_seeds": 0}
        return search

    @property
    def id(self) -> str:
        """The identity that the cell's trials have in common: cells of several studies may share
        them, whatever they search and on which seeds."""
        return cell_id(self.numerics, self.template)

    @property
    def label(self) -> str:
        """The cell in one line: its `CELL_NAMES`."""
        size = f"{self.task} {self.mixer} d_model={self.d_model} n_layers={self.n_layers}"
        return f"{size} {self.recipe}".rstrip()

    @property
    def attention_window(self) -> int | None:
        """How many positions the model's attention in a sliding window sees; None without one."""
        layers = self.template["model"]["mixer"]
        windows = (layer["options"].get("window") for layer in layers)
        return next((window for window in windows if isinstance(window, int)), None)

    @property
    def choosing_seeds(self) -> tuple[int, ...]:
        """Those on which the rate is chosen: the search's own, or else the study's."""
        return self.search.own_seeds or self.seeds

    @property
    def steps(self) -> int:
        """The budget of a trial."""
        return int(self.template["train"]["steps"])

    @property
    def solved(self) -> float:
        """The merit of a trial that leaves nothing to improve; where it ends as soon as its task is
        solved, that of such an end."""
        stop = self.template["train"]["stop_accuracy"]
        return SOLVED if stop is None or self.judged_by != "accuracy" else min(SOLVED, stop)

    @property
    def floor(self) -> float:
        """The merit of a model that has learnt nothing."""
        return self.chance if self.guess is None else self.guess

    @property
    def judged_by(self) -> str:
        """The name of the metric that a search goes by."""
        return self.search.metric or ("accuracy" if self.guess_loss is None else "loss")

    def merit(self, valid: Mapping[str, float | None]) -> float | None:
        """What a search goes by, from 0 to 1, of the metrics of a validation: that of `judged_by`,
        or by how much it is below `guess_loss`, as a share of it (so the best merit is that of the
        lowest loss). None where that metric has no value or is NaN.

        Raises:
            UserError: for a value that is not from 0 to 1, or below 0 where lower is better.
        """
        value = valid.get(self.judged_by)
        if value is None:
            has_diverged = valid.get("loss") is None
            return 0.0 if has_diverged else None
        if self.guess_loss is None and not 0 <= value <= 1:
            raise UserError(
                f"{self.label}: the search goes by {self.judged_by}, which is {value} in a"
                " validation: expected a number from 0 to 1; where lower is better, register the"
                " metric with lower_is_better=True"
            )
        if value < 0:
            raise UserError(
                f"{self.label}: the search goes by {self.judged_by}, of which lower is better, and"
                f" which is {value} in a validation: expected 0 or more"
            )
        return value if self.guess_loss is None else max(0.0, 1 - value / self.guess_loss)

    def merit_error(
        self, valid: Mapping[str, float | None], errors: Mapping[str, float | None]
    ) -> float:
        """The standard error of a merit over the validation examples. Where that of a share is not
        known, it is taken as if each example had one answer; that of a loss as 0."""
        error = errors.get(self.judged_by)
        if self.guess_loss is not None:
            return (error or 0.0) / self.guess_loss
        if error is not None:
            return error
        share = valid[self.judged_by] or 0.0
        return math.sqrt(share * (1 - share) / self.template["train"]["valid_examples"])

    def trial(self, learning_rate: float, seed: int) -> dict[str, Any]:
        """The canonical config of one trial, as `TrialConfig` takes it."""
        return {
            **self.template,
            "train": {**self.template["train"], "learning_rate": float(learning_rate)},
            "seeds": {"data": seed, "init": seed, "order": seed},
        }

    def key(self, learning_rate: float, seed: int) -> str:
        """The key of one trial."""
        return trial_key(self.numerics, self.trial(learning_rate, seed))

    def plan(self, trials: Trials, near: float | None = None) -> Plan:
        """Which trials the cell needs next, given those that are stored, and the rate chosen at the
        next smaller width."""
        return self.search.plan(
            trials,
            seeds=self.seeds,
            steps=self.steps,
            eval_every=int(self.template["train"]["eval_every"]),
            chance=self.floor,
            solved=self.solved,
            near=near,
        )


def cell_id(numerics: int, template: Mapping[str, Any]) -> str:
    """The identity of a cell, see `Cell.id`."""
    return digest({"numerics": numerics, "template": template})


def is_older(search: Mapping[str, Any]) -> bool:
    """Whether the values of a stored search are those of an older version, with one search for best
    rates and windows."""
    return "window" in search
