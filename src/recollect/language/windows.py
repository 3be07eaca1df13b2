"""Division of documents into the windows of text that a model reads.

A window holds at most `context` tokens. The first begins with the document, each further one
`stride` tokens later, and it predicts the tokens that earlier windows did not. So every token
except a document's first is predicted once; the tokens before it in its window are its context.
With stride = context, windows do not overlap, as in Zoology (arXiv 2312.04927). Tokens are numbered
through the whole text; `ends` has the end of each document.

Dimensions: D documents, L tokens, W windows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from pydantic import Field, model_validator

from recollect.config import Config
from recollect.errors import UserError


class Cuts(NamedTuple):
    """Windows of a text: each reads the tokens `first` to `last` - 1, and predicts those from
    `scored` to `last`."""

    first: Int64[np.ndarray, " W"]
    scored: Int64[np.ndarray, " W"]
    last: Int64[np.ndarray, " W"]


class Windows(Config):
    """Length and stride of windows.

    Attributes:
        context: most tokens in a window.
        stride: tokens from one window to the next.
    """

    context: int = Field(gt=0)
    stride: int = Field(gt=0)

    @model_validator(mode="after")
    def _leaves_nothing_out(self) -> Windows:
        if self.stride > self.context:
            raise UserError(
                f"stride={self.stride}: expected at most context={self.context}, or tokens between"
                " the windows would never be predicted"
            )
        return self

    def context_starts(self, ends: Int64[np.ndarray, " D"]) -> Int64[np.ndarray, " L"]:
        """First token of the context of each token."""
        lengths = np.diff(ends, prepend=0)
        begins = np.repeat(ends - lengths, lengths)
        beyond = np.arange(len(begins)) - begins - self.context  # distance beyond the first window
        return begins + self.stride * -(-beyond.clip(min=0) // self.stride)

    def cut(self, ends: Int64[np.ndarray, " D"]) -> Cuts:
        """Windows of a text, document by document."""
        lengths = np.diff(ends, prepend=0)
        counts = 1 + -(-(lengths - 1 - self.context).clip(min=0) // self.stride)
        counts[lengths < 2] = 0  # there is nothing to predict
        begins = np.repeat(ends - lengths, counts)
        turn = np.arange(len(begins)) - np.repeat(np.cumsum(counts) - counts, counts)
        first = begins + turn * self.stride
        scored = np.where(turn == 0, begins, first - self.stride + self.context) + 1
        last = np.minimum(first + self.context, np.repeat(ends, counts) - 1)
        return Cuts(first, scored, last)


def predicted(ends: Int64[np.ndarray, " D"]) -> Int64[np.ndarray, " P"]:
    """Places of the P = L - D predicted tokens: all but the first of each document."""
    begins = ends - np.diff(ends, prepend=0)
    chosen = np.ones(ends[-1] if len(ends) else 0, bool)
    chosen[begins] = False
    return np.flatnonzero(chosen)
