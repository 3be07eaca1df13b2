"""Variants of training that a study compares, such as optimisers."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_serializer, field_validator

from recollect.config import Config
from recollect.errors import UserError
from recollect.own_functions import stored_name
from recollect.studies.search import AnySearch
from recollect.training.config import TrainConfig
from recollect.training.optimizer_name import as_optimizer, optimizer_label


class Variant(Config):
    """A way of training every model on each task of a study.

    Attributes:
        train: settings that differ from the study's `train`.
        search: the learning rate search; None: the study's.

    Raises:
        UserError: if `train` sets the learning rate or names an unknown optimiser.
    """

    train: dict[str, Any] = Field(default={})
    search: AnySearch | None = None

    @field_validator("train")
    @classmethod
    def _is_plain(cls, train: dict[str, Any]) -> dict[str, Any]:
        if "learning_rate" in train:
            raise UserError("the search chooses the learning_rate; give the variant a search")
        if "optimizer" in train:
            return train | {"optimizer": as_optimizer(train["optimizer"])}
        return train

    @field_serializer("train")
    def _stored(self, train: dict[str, Any]) -> dict[str, Any]:
        names = {"optimizer": stored_name(train["optimizer"])} if "optimizer" in train else {}
        return train | names

    def recipe(self, train: TrainConfig) -> dict[str, Any]:
        """Settings that distinguish the variant's cells: the optimiser, if the variant names it or
        it is not the default, and the variant's other changes.

        Args:
            train: training settings of its trials.

        Returns:
            The settings by name; empty if there is none.
        """
        others = {name: value for name, value in self.train.items() if name != "optimizer"}
        default = TrainConfig.model_fields["optimizer"].default
        if train.optimizer == default and "optimizer" not in self.train:
            return others
        return {"optimizer": optimizer_label(train.optimizer)} | others
