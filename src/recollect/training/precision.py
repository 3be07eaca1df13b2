"""Mixed precision: matrix products in bfloat16, weights and sensitive operations in float32."""

from __future__ import annotations

import torch

from recollect.training.config import TrainConfig


def mixed_precision(train: TrainConfig, device: torch.device) -> torch.autocast:
    """Autocast context of a training step's forward pass; does nothing unless dtype is "bfloat16".

    Inside it our ops keep float32 (`ops.cost`). Evaluation runs outside it, in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=train.dtype == "bfloat16")
