"""What a model does while it learns: where its layers look, and which of its answers are right.

`observe` looks at a model once. `Dynamics` is the observer (`training.observer`) that does so
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
from recollect.training.data import held_out

TOKENS = 256
"""Scores are means over as many examples as have this many tokens, and at least one."""
PROBES = 2
"""From so many random directions: scores are then off by about 0.01."""
EXAMPLES = 256
"""Accuracies are over so many examples, or all, if there are fewer."""
WHOLE_LAYER = -1
"""Stands for the head where a score is of the layer's token-mixing matrix."""

COLUMNS = {
    "scores": ("layer", "head", "previous_token", "induction"),
    "gaps": ("gap", "accuracy", "answers"),
    "pairs": ("pair", "accuracy", "answers"),
}
"""Of the tables of an observation."""


@dataclass(frozen=True)
class Observation:
    """What a model does at a moment of its training; or at several, each table then beginning with
    `step`.

    Attributes:
        scores: of the token-mixing matrix of each layer, and of the attention weights of each head
            where a layer attends: `layer` and `head` from 0 (`WHOLE_LAYER`: the matrix),
            `previous_token`, and `induction` at the supervised positions (NaN where no token
            recurs there).
        gaps: `accuracy` of the `answers`, as many as there were, by `gap`: the tokens from the last
            earlier occurrence of what is asked for.
        pairs: the same by `pair`: which of the example's queried keys it is, in the order of these
            occurrences, from 0.
    """

    scores: pd.DataFrame
    gaps: pd.DataFrame
    pairs: pd.DataFrame


def observe(model: LanguageModel, batches: Sequence[Batch]) -> Observation:
    """Look at a model.

    Args:
        model: in evaluation mode while this runs, and unchanged by it.
        batches: examples, as tasks sample them. Accuracies are over all of them, scores over the
            first of the longest: as many as have 256 tokens, and at least one.
    """
    device = model.head.weight.device
    longest = max(batches, key=_length)
    few = longest[: max(1, TOKENS // longest.inputs.shape[1])].to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        found = answers(model, batches)
        return Observation(_scores(model, few), _by(found, "gap"), _by(found, "pair"))


class Dynamics:
    """Observations of one trial, of the first of its validation examples.

    A look takes as long as 4 to 8 training steps: so much per cent of training where there is one
    every 100 steps (batches of 64, d_model 64, lengths 64 and 256, one CPU core).

    Args:
        config: the trial.

    Attributes:
        examples: what the model is observed on: 256 validation examples, shared by the lengths of a
            mixture, or all, if there are fewer.
    """

    def __init__(self, config: TrialConfig) -> None:
        valid = held_out(config.task, config.train.valid_examples, config.seeds, "valid")
        self.examples = [batch[: max(1, EXAMPLES // len(valid))] for batch in valid]
        self._components = config.task.components
        self._observations: list[Observation] = []

    def observe(self, step: int, model: LanguageModel) -> None:
        """Add what the model does after so many optimiser steps."""
        now = observe(model, self.examples)
        for table in vars(now).values():
            table.insert(0, "step", step)
        self._observations.append(now)

    @property
    def observation(self) -> Observation:
        """All steps so far."""
        return Observation(
            **{
                table: pd.concat(
                    [getattr(each, table) for each in self._observations], ignore_index=True
                )
                for table in COLUMNS
            }
        )

    def attention_map(self, model: LanguageModel) -> AttentionMap:
        """Where the model looks on the first of the longest examples."""
        task, examples = max(
            zip(self._components, self.examples, strict=False), key=lambda pair: _length(pair[1])
        )
        return attention_map(model, examples, task)

    def seen(self) -> dict[str, Tensor]:
        """The columns of all tables."""
        return to_columns(self.observation)

    def go_on(self, seen: dict[str, Tensor]) -> None:
        """Have seen this, and nothing else."""
        self._observations = [from_columns(seen)]


def to_columns(observation: Observation) -> dict[str, Tensor]:
    """Every column of every table as a tensor, called `table.column`."""
    return {
        f"{name}.{column}": torch.tensor(table[column].to_numpy())
        for name, table in vars(observation).items()
        for column in table
    }


def from_columns(columns: dict[str, Tensor]) -> Observation:
    """What `to_columns` has taken apart, whatever has become of the order of the columns."""
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
    """Accuracy and number of answers by gap or pair."""
    right = found.groupby(place)["right"]
    return right.agg(accuracy="mean", answers="size").reset_index()
