"""Whether a whole model reads later tokens, tried before it is trained or measured.

This is quicker than the referee's check of a mixer, and finds less: one input and a few cuts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recollect.models.language_model import LanguageModel

Logits = Callable[[Int64[Tensor, "batch L"]], Float[Tensor, "batch L vocab"]]
TOLERANCE = 1e-3
"""Smaller changes, relative to the largest logit, are rounding."""
SPREAD = 0.02
"""Standard deviation of parameters that are drawn anew."""


@torch.no_grad()
def look_ahead(logits: Logits, tokens: Int64[Tensor, "batch L"], vocab_size: int) -> float:
    """Return how much logits up to a position change when all later tokens change.

    Args:
        logits: the model in evaluation mode.
        tokens: an input.
        vocab_size: number of token ids.

    Returns:
        The largest change relative to the largest logit; 0 if it is rounding, or if the logits of
        the same input vary by themselves.
    """
    length, expected, largest = tokens.shape[1], logits(tokens), 0.0
    if not torch.equal(logits(tokens).nan_to_num(), expected.nan_to_num()):
        return 0.0
    scale = float(expected.nan_to_num().abs().max())
    for cut in sorted({0, length // 2, length - 2} & set(range(length - 1))):
        changed = tokens.clone()
        changed[:, cut + 1 :] = (changed[:, cut + 1 :] + 1) % vocab_size
        difference = (logits(changed).nan_to_num() - expected.nan_to_num())[:, : cut + 1]
        largest = max(largest, float(difference.abs().max()))
    return largest / scale if largest > TOLERANCE * scale else 0.0


def look_ahead_untrained(
    model: LanguageModel, tokens: Int64[Tensor, "batch L"], vocab_size: int
) -> float:
    """Return `look_ahead` of a new model, which `reveal` changes."""
    return look_ahead(reveal(model), tokens, vocab_size)


def reveal(model: LanguageModel) -> LanguageModel:
    """Return a new model in evaluation mode, in which maps that start at zero hide nothing.

    The model is changed: parameters that are all zero are drawn anew.
    """
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(SPREAD * drawn)
    return model.eval()
