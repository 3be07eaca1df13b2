"""Language models to be trained alike on a text, each at a rate of its own, and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from recollect.config import Config, digest
from recollect.errors import UserError
from recollect.language.text_task import Text
from recollect.models.config import ModelConfig
from recollect.studies.cell import Cell
from recollect.studies.search import BestRateSearch, FixedGrid
from recollect.studies.study import Study
from recollect.training.config import NUMERICS, Seeds, TrainConfig, TrialConfig

TUNING_SEED = 8001
"""On which rates are chosen. No model that is compared is trained on it: a rate that owes its place
to the luck of a seed gains nothing from it."""


class Tuning(Config):
    """How the learning rate of a model is chosen: by validation loss after short trainings on
    `TUNING_SEED`, each with a schedule of its own.

    Attributes:
        search: which rates are tried.
        steps: of a short training.
    """

    search: BestRateSearch
    steps: int = Field(gt=0)


class Trainings(Study):
    """Models trained at length, each on one task, at a rate and on seeds of its own.

    Attributes:
        own: for each model its learning rate and seeds.
    """

    own: tuple[tuple[float, tuple[int, ...]], ...]

    if TYPE_CHECKING:

        def __init__(self, name: str, /, **values: Any) -> None: ...

    def cells(self) -> tuple[Cell, ...]:
        """One for each model, in their order."""
        return tuple(
            cell.replace(search=FixedGrid(rates=(rate,)), seeds=seeds)
            for cell, (rate, seeds) in zip(super().cells(), self.own, strict=True)
        )


class LanguagePlan(Config):
    """What is trained on what, and how.

    It names its text, and opens it only when a study or a trial is asked for.

    Attributes:
        name: of the study that chooses rates.
        title: what it shows, in a line.
        text: as `Text` takes it; its parts train, valid and test are for training, the choice of
            rates, and the comparison.
        tokenizer: likewise.
        context: tokens that a model reads at a time.
        models: by name; the first is the one with which the others are compared.
        train: how each is trained at length.
        tuning: how the rate of a model is chosen; None: all have that of `train`.
        seeds: of windows and initial weights; every model is trained on the first.
        repeated: the models that are trained on all of them, the first model among them if any.
        end_of_text: whether a token ends each document, as `Text` takes it.
    """

    name: str
    title: str
    text: str
    tokenizer: int | str
    context: int
    models: dict[str, ModelConfig] = Field(min_length=1)
    train: TrainConfig
    tuning: Tuning | None = None
    seeds: tuple[int, ...] = Field(default=(42,), min_length=1)
    repeated: tuple[str, ...] = ()
    end_of_text: bool = True

    @model_validator(mode="after")
    def _seeds_are_sound(self) -> LanguagePlan:
        if len(set(self.seeds)) < len(self.seeds) or TUNING_SEED in self.seeds:
            raise UserError(
                f"seeds={list(self.seeds)}: expected each once, and not {TUNING_SEED}, on which"
                " rates are chosen"
            )
        if unknown := [name for name in self.repeated if name not in self.models]:
            raise UserError(
                f"repeated names {unknown[0]}, but the models are {', '.join(self.models)}"
            )
        reference = next(iter(self.models))
        if self.repeated and reference not in self.repeated:
            raise UserError(
                f"repeated lacks {reference}, with which the others are compared seed by seed"
            )
        return self

    @property
    def task(self) -> Text:
        """The text, opened."""
        return Text(
            text=self.text,
            tokenizer=self.tokenizer,
            seq_len=self.context,
            end_of_text=self.end_of_text,
        )

    def studies(self) -> tuple[Study, ...]:
        """The study that chooses the rates, with a cell for each model in their order; none where
        they are not searched."""
        if self.tuning is None:
            return ()
        steps = self.tuning.steps
        study = Study(
            self.name,
            title=self.title,
            tasks=[self.task],
            models=list(self.models.values()),
            # nobody looks at the test of a short training
            train=self.train.replace(steps=steps, eval_every=math.ceil(steps / 2), test_examples=1),
            search=self.tuning.search,
            seeds=[TUNING_SEED],
        )
        return (study,)

    def seeds_of(self, model: str) -> tuple[int, ...]:
        """On which a model is trained at length."""
        return self.seeds if model in self.repeated else self.seeds[:1]

    def trainings(self, learning_rates: Sequence[float]) -> Trainings:
        """The study that trains the models at length, with a cell for each in their order.

        Args:
            learning_rates: of the models in their order.
        """
        seeds = map(self.seeds_of, self.models)
        return Trainings(
            f"{self.name}-trained",
            title=self.title,
            tasks=[self.task],
            models=list(self.models.values()),
            train=self.train,
            seeds=self.seeds,
            own=list(zip(learning_rates, seeds, strict=True)),
        )

    def trials(self, learning_rates: Sequence[float]) -> list[tuple[str, TrialConfig]]:
        """Those of `trainings`, each with the name of its model."""
        return [
            (model, self.trial(model, rate, seed))
            for model, rate in zip(self.models, learning_rates, strict=True)
            for seed in self.seeds_of(model)
        ]

    def trial(self, model: str, learning_rate: float, seed: int) -> TrialConfig:
        """The training of a model at length."""
        return TrialConfig(
            task=self.task,
            model=self.models[model],
            train=self.train.replace(learning_rate=learning_rate),
            seeds=Seeds.of(seed),
        )

    def folder(self, store: Path) -> Path:
        """Where its models and tables lie, beside the store. A plan of other settings or another
        trainer has another folder: neither touches what the other has trained."""
        unsaid = None if self.end_of_text else {"end_of_text"}  # as in the key of a `Text`
        plan = self.model_dump(mode="json", exclude=unsaid)
        settings = digest({"numerics": NUMERICS, "plan": plan})[:8]
        return store.with_name(f"{store.stem}-models") / f"{self.name}-{settings}"
