"""Observations of a model during training: attention scores, and accuracy by distance and pair.

`observe` observes a model once. `Dynamics` is the observer (`training.observer`) that does so
before training and at every validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from recollect.analysis.attention_map import AttentionMap, attention_map
from recollect.analysis.gaps import answers
from recollect.analysis.mixing import (
    head_weights,
    induction_score,
    mixing_matrices,
    previous_token_score,
)
from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.config import TrialConfig
from recollect.training.data import held_out, shares

TOKENS = 256
"""Tokens that scores are averaged over, in whole examples and at least one."""
PROBES = 2
"""Random directions per estimate; the error of scores is then about 0.01."""
EXAMPLES = 256
"""Largest number of examples that accuracies are averaged over."""
WHOLE_LAYER = -1
"""Value of `head` in scores of a layer's token-mixing matrix."""

COLUMNS = {
    "scores": ("layer", "head", "previous_token", "induction"),
    "gaps": ("gap", "accuracy", "answers"),
    "pairs": ("pair", "accuracy", "answers"),
}
"""Columns of the tables of an observation."""


@dataclass(frozen=True)
class Observation:
    """Observations of a model at one step, or at several steps with a first column `step`.

    Attributes:
        scores: attention scores of each layer's token-mixing matrix (`head` is `WHOLE_LAYER`) and
            of each head of attention layers: `layer` and `head` from 0, `previous_token`, and
            `induction` at the supervised positions (NaN if no token recurs there).
        gaps: `accuracy` and number of `answers` by `gap`, the distance in tokens between a query
            and the last earlier occurrence of its key.
        pairs: the same by `pair`, the rank of the key among the example's queried keys, in order of
            occurrence and from 0.
    """

    scores: pd.DataFrame
    gaps: pd.DataFrame
    pairs: pd.DataFrame


def observe(model: LanguageModel, batches: Sequence[Batch]) -> Observation:
    """Observe a model once.

    Args:
        model: in evaluation mode during the call; left unchanged.
        batches: examples. Accuracies are means over all of them; scores are means over the first
            examples of the longest batch, up to 256 tokens and at least one example.
    """
    device = model.head.weight.device
    longest = max(batches, key=_length)
    few = longest[: max(1, TOKENS // longest.inputs.shape[1])].to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        found = answers(model, batches)
        return Observation(_scores(model, few), _by(found, "gap"), _by(found, "pair"))


class Dynamics:
    """Observer that records the dynamics of one trial on its validation examples.

    An observation takes as long as 4 to 8 training steps, so with one every 100 steps it costs 4 to
    8 % of training (batches of 64, d_model 64, lengths 64 and 256, one CPU core).

    Args:
        config: the trial.

    Attributes:
        examples: the first 256 validation examples, divided among the lengths of a mixture; all of
            them if there are fewer.
    """

    def __init__(self, config: TrialConfig) -> None:
        valid = held_out(config.task, config.train.valid_examples, config.seeds, "valid")
        self.examples = [batch[: max(1, EXAMPLES // len(valid))] for batch in valid]
        counts = shares(config.task, config.train.valid_examples)
        self._components = [component for component, count in counts if count]
        self._observations: list[Observation] = []

    def observe(self, step: int, model: LanguageModel) -> None:
        """Add an observation after `step` optimiser steps."""
        now = observe(model, self.examples)
        for table in vars(now).values():
            table.insert(0, "step", step)
        self._observations.append(now)

    @property
    def observation(self) -> Observation:
        """Observations at all steps so far."""
        return Observation(
            **{
                table: pd.concat(
                    [getattr(each, table) for each in self._observations], ignore_index=True
                )
                for table in COLUMNS
            }
        )

    def attention_map(self, model: LanguageModel) -> AttentionMap:
        """Attention map of the model on the first of the longest examples."""
        task, examples = max(
            zip(self._components, self.examples, strict=True), key=lambda pair: _length(pair[1])
        )
        return attention_map(model, examples, task)

    def seen(self) -> dict[str, Tensor]:
        """Columns of all tables, as tensors."""
        return to_columns(self.observation)

    def go_on(self, seen: dict[str, Tensor]) -> None:
        """Replace the observations by those of a checkpoint."""
        self._observations = [from_columns(seen)]


def to_columns(observation: Observation) -> dict[str, Tensor]:
    """Every column of every table as a tensor named `table.column`."""
    return {
        f"{name}.{column}": torch.tensor(table[column].to_numpy())
        for name, table in vars(observation).items()
        for column in table
    }


def from_columns(columns: dict[str, Tensor]) -> Observation:
    """Inverse of `to_columns`; the order of the tensors does not matter."""
    return Observation(
        **{
            table: pd.DataFrame(
                {
                    name: columns[f"{table}.{name}"].numpy()
                    for name in ("step", *names)
                    if f"{table}.{name}" in columns
                }
            )
            for table, names in COLUMNS.items()
        }
    )


def _length(batch: Batch) -> int:
    return batch.inputs.shape[1]


def _scores(model: LanguageModel, batch: Batch) -> pd.DataFrame:
    rows = []
    matrices = mixing_matrices(model, batch.inputs, probes=PROBES)
    heads = head_weights(model, batch.inputs)
    for layer, (matrix, weights) in enumerate(zip(matrices, heads, strict=True)):
        looks = {WHOLE_LAYER: matrix}
        if weights is not None:
            looks |= dict(enumerate(weights.unbind(1)))
        rows += [
            {
                "layer": layer,
                "head": head,
                "previous_token": previous_token_score(look),
                "induction": induction_score(look, batch.inputs, batch.positions),
            }
            for head, look in looks.items()
        ]
    return pd.DataFrame(rows)


def _by(found: pd.DataFrame, place: str) -> pd.DataFrame:
    """Accuracy and number of answers by distance or pair."""
    right = found.groupby(place)["right"]
    return right.agg(accuracy="mean", answers="size").reset_index()
