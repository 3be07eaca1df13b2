"""The initialisation recipe, applied to a whole model."""

from __future__ import annotations

import math

from torch import nn

from recollect.mixers.marks import keeps_init
from recollect.models.config import Init


def initialise(model: nn.Module, init: Init) -> None:
    """Set every linear map and embedding that its mixer does not claim as its own (see `Init`)."""
    writes = sum(name.endswith("out_proj") for name, _ in model.named_modules())
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | nn.Embedding):
            continue
        writes_residual = init.rescale_residual and name.endswith("out_proj")
        std = init.std / math.sqrt(writes) if writes_residual else init.std
        if not keeps_init(module.weight):
            nn.init.normal_(module.weight, std=std)
        bias = getattr(module, "bias", None)
        if bias is not None and not keeps_init(bias):
            nn.init.zeros_(bias)
