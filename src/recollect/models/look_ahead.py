"""Whether a whole model reads later tokens, tried before it is trained or measured.

This is quicker than the referee's check of a mixer, and finds less: one input and a few cuts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.tasks.task import Task

Logits = Callable[[Int64[Tensor, "batch L"]], Float[Tensor, "batch L vocab"]]
TOLERANCE = 1e-3
"""Smaller changes, relative to the largest logit, are rounding."""
EXAMPLES = 4
SPREAD = 0.02


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


def look_ahead_untrained(model: LanguageModel, tokens: Tensor, vocab_size: int) -> float:
    """Return `look_ahead` of a new model, in which maps that start at zero hide nothing.

    The model is changed: parameters that are all zero are drawn anew.
    """
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            with torch.no_grad():
                nn.init.normal_(parameter, std=SPREAD, generator=generator)
    return look_ahead(model.eval(), tokens, vocab_size)


def warn_of_look_ahead(models: Iterable[ModelConfig], task: Task) -> None:
    """Warn of each model with a user's mixer that reads later tokens.

    Args:
        models: the models. This package's own mixers are known to be causal and are not tried.
        task: a task that they are trained on.
    """
    component = max(task.components, key=lambda each: each.max_len)
    tokens, vocab_size = component.sample(EXAMPLES, 0).inputs, task.vocab_size
    for model in models:
        foreign = {spec.label for spec in model.layer_mixers() if spec.is_foreign}
        if not foreign:
            continue
        try:
            built = LanguageModel(model, vocab_size=vocab_size, max_len=task.max_len, seed=0)
            change = look_ahead_untrained(built, tokens, vocab_size)
        except Exception:  # the run itself shows the error, or has the device that is missing here
            continue
        if change:
            warnings.warn(
                f"{' and '.join(sorted(foreign))}: later tokens change earlier outputs, by"
                f" {change:.2g} of the largest output on {task.label}. A mixer that is meant to be"
                " causal has a fault then, and its results mean nothing: `recollect check` shows"
                " where it looks ahead",
                stacklevel=2,
            )
