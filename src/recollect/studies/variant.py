"""Ways of training that a study compares, such as optimisers."""

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
    """One of the ways in which a study trains every model on each of its tasks.

    Attributes:
        train: what its trials do otherwise than the study's `train`.
        search: how the learning rate is found; None: as the study says.

    Raises:
        UserError: if train sets the learning rate, or names an unknown optimiser.
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
        """By name, what tells its cells from others: the optimiser, if the variant names it or it
        is not the default, and what else the variant changes.

        Args:
            train: how its trials are trained.

        Returns:
            The values by the names of their fields; none if nothing differs.
        """
        others = {name: value for name, value in self.train.items() if name != "optimizer"}
        default = TrainConfig.model_fields["optimizer"].default
        if train.optimizer == default and "optimizer" not in self.train:
            return others
        return {"optimizer": optimizer_label(train.optimizer)} | others
