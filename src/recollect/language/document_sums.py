"""Sums of tokens and losses of each document, for all tokens and for AR hits at many bounds.

The gap between models and its intervals follow from these sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from recollect.files import replacing
from recollect.language.ar_hits import Bound
from recollect.language.observed import Observed

Tokens = Bound | Literal["all"]
"""A set of tokens: all, or the AR hits for a bound."""
NO_BOUND = -1
"""Represents None in a file."""


@dataclass(frozen=True)
class DocumentSums:
    """Sums over the tokens of each document.

    Dimensions: S sets of tokens (all tokens, then the hits for each bound); M models; D documents.

    Attributes:
        models: names of the models; equal names mark seeds of one model. The others are compared
            with the first.
        max_train_counts: the bound of each set of hits; None: no bound.
        tokens: numbers of tokens.
        losses: summed losses of each model, in nats.
    """

    models: tuple[str, ...]
    max_train_counts: tuple[Bound, ...]
    tokens: Int64[np.ndarray, "S D"]
    losses: Float64[np.ndarray, "M S D"]

    def place(self, tokens: Tokens) -> int:
        """Index of a set of tokens in dimension S."""
        return 0 if tokens == "all" else 1 + self.max_train_counts.index(tokens)

    @property
    def hit_shares(self) -> dict[Bound, float]:
        """Share of hits among all tokens, by bound."""
        shares = self.tokens[1:].sum(-1) / self.tokens[0].sum()
        return dict(zip(self.max_train_counts, map(float, shares), strict=True))

    def write(self, path: Path) -> None:
        """Write the sums to a file."""
        bounds = [NO_BOUND if bound is None else bound for bound in self.max_train_counts]
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                models=np.array(self.models),
                bounds=np.array(bounds),
                tokens=self.tokens,
                losses=self.losses,
            )

    @classmethod
    def read(cls, path: Path) -> DocumentSums:
        """Read sums from a file."""
        with np.load(path) as kept:
            bounds = tuple(None if bound == NO_BOUND else int(bound) for bound in kept["bounds"])
            return cls(tuple(map(str, kept["models"])), bounds, kept["tokens"], kept["losses"])


def sum_documents(
    part: Observed, models: Sequence[str], max_train_counts: Sequence[Bound]
) -> DocumentSums:
    """Compute the sums of some documents.

    Args:
        part: the tokens of these documents.
        models: names of the models, in the order of the losses.
        max_train_counts: the bounds.
    """
    ascending = _ascending(max_train_counts)
    finite = [bound for bound in ascending if bound is not None]
    least = np.searchsorted(finite, part.train_count)  # smallest bound; `len(finite)`: None
    least[part.distance == 0] = len(ascending)  # not a hit for any bound
    documents = int(part.document[-1]) + 1
    cells = least * documents + part.document
    chosen = [len(ascending), *(ascending.index(bound) for bound in max_train_counts)]

    def sums(weights: np.ndarray | None = None) -> np.ndarray:
        shape = len(ascending) + 1, documents
        table = np.bincount(cells, weights, shape[0] * shape[1]).reshape(shape)
        return table.cumsum(axis=0)[chosen]

    losses = np.stack([sums(each) for each in part.losses])
    return DocumentSums(tuple(models), tuple(max_train_counts), sums(), losses)


def _ascending(bounds: Sequence[Bound]) -> list[Bound]:
    return sorted(set(bounds), key=lambda bound: math.inf if bound is None else bound)


def joined(sums: Sequence[DocumentSums]) -> DocumentSums:
    """Concatenate the sums of several groups of documents."""
    return DocumentSums(
        sums[0].models,
        sums[0].max_train_counts,
        np.concatenate([each.tokens for each in sums], axis=-1),
        np.concatenate([each.losses for each in sums], axis=-1),
    )
