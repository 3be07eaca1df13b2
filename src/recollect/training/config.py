"""One trial as a config: what is learned, by which model, how, from which seeds; and its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from recollect.config import Config, digest, without_defaults
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.own_functions import stored_name
from recollect.seeding import Seed, is_read_whole
from recollect.tasks.metric import Metric, MetricName, check_apart, find_metrics
from recollect.tasks.task import AnyTask, Task
from recollect.training.optimizer_name import OptimizerName

NUMERICS = 4
"""Version of the trainer's numerics, part of every trial's key (`numerics_of`). Raised when a
change of the code changes the numbers of a trial."""
SEEDING = 1
"""Version of how seeds beyond 32 bits are read; part of the keys of trials with such seeds."""

DEFAULT_BETAS = (0.9, 0.999)


class TrainConfig(Config):
    """How a model is trained to minimise the mean cross-entropy of the supervised positions.

    Attributes:
        optimizer: "adamw", "sgd", "lion", "muon", "schedule-free", or your own function that makes
            an optimiser (`training.own_optimizer`), given as the function or as "file.py:function".
        learning_rate: the peak of the schedule. Parameters whose rate a mixer's authors fixed
            (`mixers.marks`) have that rate as their peak.
        steps: the budget, in optimiser steps.
        batch_size: examples per step.
        schedule: "cosine" or "linear" to zero, "constant", or "wsd": constant, then linear to zero
            over the last fifth of the steps; all after the warm-up.
        schedule_unit: whether the rate changes every step or every epoch, as in some papers. A
            whole epoch has the rate of its first step, so a warm-up keeps the first epoch near
            zero: set warmup=0 with "epoch".
        warmup: fraction of the steps during which the rate rises linearly from zero.
        weight_decay: on all parameters except those whose decay a mixer's authors fixed. A step
            shrinks a parameter by this times the learning rate; with "sgd" by ten times as much,
            because momentum accumulates it. Use much less of it with learning rates far above
            AdamW's.
        decay_all: whether weight decay also acts on parameters whose decay is fixed.
        betas: of AdamW (also for the parameters that "muon" does not train) and of "schedule-free".
        grad_clip: largest norm of the gradient of all parameters; None: no clipping.
        train_examples: size of the training set, shuffled every epoch; None: every batch is new.
        valid_examples: size of the validation set, which has its own random stream. It decides the
            choice of learning rates and the early stop.
        test_examples: size of the test set, from a third stream. Its results are reported and never
            used for a choice.
        eval_every: steps between validations.
        stop_accuracy: validation accuracy at which the task counts as solved and the trial ends;
            None: train for all steps.
        metrics: metrics besides loss and accuracy, one or several: names (`register_metric`),
            functions or "file.py:function". They do not affect training.
        dtype: of parameters and computation. "bfloat16" is mixed precision: matrix products of
            training in bfloat16, all else in float32.

    Raises:
        UserError: if settings do not fit the optimiser, two metrics have one name, or the schedule
            is in epochs without train_examples or with a warm-up.
    """

    optimizer: OptimizerName = "adamw"
    learning_rate: float = Field(default=3e-3, gt=0)
    steps: int = Field(default=2000, gt=0)
    batch_size: int = Field(default=128, gt=0)
    schedule: Literal["cosine", "constant", "linear", "wsd"] = "cosine"
    schedule_unit: Literal["step", "epoch"] = "step"
    warmup: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0)
    decay_all: bool = False
    betas: tuple[float, float] = DEFAULT_BETAS
    grad_clip: float | None = Field(default=None, gt=0)
    train_examples: int | None = Field(default=None, gt=0)
    valid_examples: int = Field(default=1000, gt=0)
    test_examples: int = Field(default=3000, gt=0)
    eval_every: int = Field(default=100, gt=0)
    stop_accuracy: float | None = Field(default=0.999, gt=0, le=1)
    metrics: tuple[MetricName, ...] = ()
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[TrainConfig], dict[str, Any]]) -> dict[str, Any]:
        stored = without_defaults(self, fields, ("decay_all", "optimizer", "metrics"))
        if "optimizer" in stored:
            stored["optimizer"] = stored_name(self.optimizer)
        if "metrics" in stored:
            stored["metrics"] = [*map(stored_name, self.metrics)]
        return stored

    @field_validator("betas")
    @classmethod
    def _betas_are_shares(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise UserError(f"betas={betas}: expected two numbers from 0 to below 1")
        return betas

    @field_validator("metrics", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """Accept a single metric."""
        return (given,) if isinstance(given, str | FunctionType) else given

    @field_validator("metrics")
    @classmethod
    def _metrics_are_apart(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        check_apart(find_metrics(metrics))
        return metrics

    @model_validator(mode="after")
    def _fits_the_optimizer(self) -> TrainConfig:
        if self.optimizer == "schedule-free" and self.schedule != "constant":
            raise UserError(
                f"schedule={self.schedule!r} with optimizer='schedule-free', which averages weights"
                " in place of a schedule: set schedule='constant' first; the warm-up stays"
            )
        if self.optimizer == "schedule-free" and self.betas[0] == 0:
            raise UserError("betas[0]=0 with optimizer='schedule-free': expected more than 0")
        if self.optimizer in ("sgd", "lion") and self.betas != DEFAULT_BETAS:
            raise UserError(
                f"betas={self.betas} have no effect with optimizer={self.optimizer!r}, whose"
                " momentum is fixed: leave them out"
            )
        return self

    @model_validator(mode="after")
    def _epochs_need_a_training_set(self) -> TrainConfig:
        if self.schedule_unit == "epoch" and self.train_examples is None:
            raise UserError(
                "schedule_unit='epoch' needs train_examples: without them there are no epochs"
            )
        if self.schedule_unit == "epoch" and self.warmup > 0:
            raise UserError(
                f"schedule_unit='epoch' with warmup={self.warmup:g}: the whole first epoch would"
                " have the first rate of the warm-up, which is near 0; set warmup=0"
            )
        return self


class Seeds(Config):
    """Seeds of a trial's independent random streams.

    Attributes:
        data: of the training, validation and test examples.
        init: of the initial weights.
        order: of the order of a fixed training set, and of the dropout masks.

    Raises:
        UserError: for a seed that a store cannot hold.
    """

    data: Seed
    init: Seed
    order: Seed

    @classmethod
    def of(cls, seed: int) -> Seeds:
        """Seeds with `seed` for all three streams."""
        return cls(data=seed, init=seed, order=seed)


class TrialConfig(Config):
    """Everything that determines the outcome of a trial.

    Attributes:
        task: what is trained and validated on.
        test_tasks: further tasks to test on, one or several, such as longer ones; `task` is always
            tested.
        model: the architecture. If the option `filler` of a mixer is not given, it is set to the
            tasks' filler token.
        train: how the model is trained.
        seeds: the random streams.

    Raises:
        UserError: if the tasks have different vocabularies, two tasks have one label, or two
            metrics one name.
    """

    task: AnyTask
    test_tasks: tuple[AnyTask, ...] = ()
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    seeds: Seeds = Seeds.of(42)

    @field_validator("test_tasks", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """Accept a single task."""
        return (given,) if isinstance(given, Task) else given

    @field_validator("model")
    @classmethod
    def _with_filler(cls, model: ModelConfig, fields: ValidationInfo) -> ModelConfig:
        if not {"task", "test_tasks"} <= fields.data.keys():
            return model  # one of them is invalid, and pydantic reports it
        return model.for_tasks([fields.data["task"], *fields.data["test_tasks"]])

    @model_validator(mode="after")
    def _vocabularies_agree(self) -> TrialConfig:
        for test in self.test_tasks:
            if test.vocab_size != self.task.vocab_size:
                raise UserError(
                    f"the test task {test.label} has vocab_size={test.vocab_size}, but the model"
                    f" learns {self.task.label} with vocab_size={self.task.vocab_size}"
                )
            if len({test.vocabulary, self.task.vocabulary} - {None}) > 1:
                raise UserError(
                    f"the test task {test.label} has another tokenizer than {self.task.label},"
                    " which the model learns"
                )
        return self

    @model_validator(mode="after")
    def _labels_tell_tasks_apart(self) -> TrialConfig:
        named: dict[str, Task] = {}
        for task in (self.task, *self.test_tasks):
            if named.setdefault(task.label, task) != task:
                raise UserError(
                    f"two tasks have the label {task.label!r}, by which results are told apart:"
                    f" {named[task.label]!r} and {task!r}"
                )
        return self

    @model_validator(mode="after")
    def _names_tell_metrics_apart(self) -> TrialConfig:
        for task in (self.task, *self.test_tasks):
            check_apart(self.metrics_on(task))
        return self

    @property
    def own_metrics(self) -> tuple[Metric, ...]:
        """The metrics named in `train.metrics`."""
        return find_metrics(self.train.metrics)

    def metrics_on(self, task: Task) -> tuple[Metric, ...]:
        """Metrics measured on examples of `task` besides loss and accuracy."""
        return (*task.metrics, *self.own_metrics)

    @property
    def key(self) -> str:
        """Identity of the trial: the hash of its config and of the numerics versions in it.

        Raises:
            UserError: if the source of a user's class cannot be read.
        """
        trial = self.model_dump(mode="json")
        return trial_key(numerics_of(trial["model"]), trial)

    @property
    def max_len(self) -> int:
        """The longest length in training or test."""
        return max(task.max_len for task in (self.task, *self.test_tasks))


def trial_key(numerics: int, trial: Mapping[str, Any]) -> str:
    """The key of a trial.

    Args:
        numerics: the version of the trainer (`numerics_of`).
        trial: the canonical config, with the numerics versions of task and mixers.
    """
    identity: dict[str, Any] = {"numerics": numerics, "trial": trial}
    if not is_read_whole(trial["seeds"]["init"]):
        identity["seeding"] = SEEDING
    return digest(identity)


def numerics_of(model: Mapping[str, Any]) -> int:
    """Numerics version of the trainer for a model, given as its canonical config. Our dropout
    raises it by one, because its masks are a hash."""
    return NUMERICS + drops(model)


def drops(model: Mapping[str, Any]) -> bool:
    """Whether a model, given as its canonical config, uses our dropout. Users' mixers draw their
    random numbers themselves."""
    ours = [mixer for mixer in model["mixer"] if mixer["source"] is None]
    return any([model["dropout"], *(mixer["options"].get("dropout") for mixer in ours)])
