"""The initialisation recipe, applied to a whole model."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from recollect.identity import is_ours
from recollect.mixers.marks import keeps_init
from recollect.models.config import Init


def initialise(model: nn.Module, mixers: Iterable[nn.Module], init: Init) -> None:
    """Set the linear maps and embeddings that the recipe is responsible for (see `Init`).

    Args:
        model: the whole model.
        mixers: those of its layers; what lies in a mixer belongs to the mixer.
        init: the recipe.
    """
    writes = sum(name.endswith("out_proj") for name, _ in model.named_modules())
    spared = _foreign_parts(mixers) if init.foreign == "keep" else set()
    for name, module in model.named_modules():
        if module in spared or not isinstance(module, nn.Linear | nn.Embedding):
            continue
        writes_residual = init.rescale_residual and name.endswith("out_proj")
        std = init.std / math.sqrt(writes) if writes_residual else init.std
        if not keeps_init(module.weight):
            nn.init.normal_(module.weight, std=std)
        bias = getattr(module, "bias", None)
        if bias is not None and not keeps_init(bias):
            nn.init.zeros_(bias)


def _foreign_parts(mixers: Iterable[nn.Module]) -> set[nn.Module]:
    """All modules in mixers that are not part of this package."""
    return {part for mixer in mixers if not is_ours(type(mixer)) for part in mixer.modules()}
