"""Plans for language models that are trained on the same text, each at its own learning rate, and
compared."""

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
"""The seed for choosing learning rates. No compared model uses it, so a rate that was only lucky on
this seed has no advantage."""


class Tuning(Config):
    """How the learning rate of a model is chosen: by validation loss after short trainings on
    `TUNING_SEED`, each with a complete schedule.

    Attributes:
        search: the rates to try.
        steps: the steps of a short training.
    """

    search: BestRateSearch
    steps: int = Field(gt=0)


class Trainings(Study):
    """The full trainings of models on one task, each at its own learning rate and seeds.

    Attributes:
        own: the learning rate and seeds of each model.
    """

    own: tuple[tuple[float, tuple[int, ...]], ...]

    if TYPE_CHECKING:

        def __init__(self, name: str, /, **values: Any) -> None: ...

    def cells(self) -> tuple[Cell, ...]:
        """One cell per model, in their order."""
        return tuple(
            cell.replace(search=FixedGrid(rates=(rate,)), seeds=seeds)
            for cell, (rate, seeds) in zip(super().cells(), self.own, strict=True)
        )


class LanguagePlan(Config):
    """Language models, their text, and their training.

    The text is opened only when a study or a trial is requested.

    Attributes:
        name: the name of the study that chooses learning rates.
        title: what it shows, in one line.
        text: the text, as in `Text`: the parts train, valid and test serve for training, for
            choosing rates, and for the comparison.
        tokenizer: the tokenizer, as in `Text`.
        context: tokens that a model reads at a time.
        models: models by name; the others are compared with the first.
        train: the settings of the full training.
        tuning: how learning rates are chosen; None: all models use that of `train`.
        seeds: seeds of data order and initial weights; every model uses the first.
        repeated: models that are trained on all seeds; if there are any, the first model is one.
        end_of_text: end each document with a token, as in `Text`.
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
                f"seeds={list(self.seeds)}: expected each once, and not {TUNING_SEED}, which serves"
                " to choose learning rates"
            )
        if unknown := [name for name in self.repeated if name not in self.models]:
            raise UserError(
                f"repeated has {unknown[0]}, but the models are {', '.join(self.models)}"
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

    @property
    def trained(self) -> str:
        """The name of the study of the full trainings."""
        return f"{self.name}-trained"

    def studies(self) -> tuple[Study, ...]:
        """The study that chooses learning rates, one cell per model; empty without a search."""
        if self.tuning is None:
            return ()
        steps = self.tuning.steps
        study = Study(
            self.name,
            title=self.title,
            tasks=[self.task],
            models=list(self.models.values()),
            # the test result of a short training is not used
            train=self.train.replace(steps=steps, eval_every=math.ceil(steps / 2), test_examples=1),
            search=self.tuning.search,
            seeds=[TUNING_SEED],
        )
        return (study,)

    def seeds_of(self, model: str) -> tuple[int, ...]:
        """The seeds of a model's full training."""
        return self.seeds if model in self.repeated else self.seeds[:1]

    def trainings(self, learning_rates: Sequence[float]) -> Trainings:
        """The study of the full trainings, with one cell per model in their order.

        Args:
            learning_rates: the rate of each model, in their order.
        """
        seeds = map(self.seeds_of, self.models)
        return Trainings(
            self.trained,
            title=self.title,
            tasks=[self.task],
            models=list(self.models.values()),
            train=self.train,
            seeds=self.seeds,
            own=list(zip(learning_rates, seeds, strict=True)),
        )

    def trials(self, learning_rates: Sequence[float]) -> list[tuple[str, TrialConfig]]:
        """The trials of `trainings`, each with the name of its model."""
        return [
            (model, self.trial(model, rate, seed))
            for model, rate in zip(self.models, learning_rates, strict=True)
            for seed in self.seeds_of(model)
        ]

    def trial(self, model: str, learning_rate: float, seed: int) -> TrialConfig:
        """The full training of a model."""
        return TrialConfig(
            task=self.task,
            model=self.models[model],
            train=self.train.replace(learning_rate=learning_rate),
            seeds=Seeds.of(seed),
        )

    def folder(self, store: Path) -> Path:
        """The folder of its models and tables, beside the store.

        Plans with other settings or another version of the trainer have another folder, so they
        never overwrite each other.
        """
        unsaid = None if self.end_of_text else {"end_of_text"}  # as in the key of a `Text`
        plan = self.model_dump(mode="json", exclude=unsaid)
        settings = digest({"numerics": NUMERICS, "plan": plan})[:8]
        return store.with_name(f"{store.stem}-models") / f"{self.name}-{settings}"
