"""Mixed precision: matrix products in bfloat16, weights and what else needs digits in float32."""

from __future__ import annotations

import torch

from recollect.training.config import TrainConfig


def mixed_precision(train: TrainConfig, device: torch.device) -> torch.autocast:
    """The context of a training step's forward pass; without effect unless bfloat16 is asked for.

    Ops keep float32 under it (`ops.cost`), and so does evaluation, which stands outside of it.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=train.dtype == "bfloat16")
