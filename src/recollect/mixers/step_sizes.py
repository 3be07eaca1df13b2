"""Initial step sizes of state space models: log-uniform, as in the code of S4 and Mamba."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

DT_MIN, DT_MAX = 1e-3, 0.1
"""Range of the step sizes."""


def random_log_dt(n: int) -> Float[Tensor, " n"]:
    """Logarithms of `n` step sizes, uniform."""
    return torch.empty(n).uniform_(math.log(DT_MIN), math.log(DT_MAX))


def inverse_softplus(y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Inverse of the softplus."""
    return y + torch.log(-torch.expm1(-y))
