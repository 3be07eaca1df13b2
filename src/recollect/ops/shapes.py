"""Arithmetic of shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """Compute the common shape of tensors of these shapes.

    `torch.broadcast_shapes` gives the same, but takes longer than a small op, and its first call
    imports a computer algebra system.
    """
    return torch.Size(np.broadcast_shapes(*map(tuple, shapes)))
