"""Initial step sizes of state space models: log-uniform, as in the code of S4 and Mamba."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

DT_MIN, DT_MAX = 1e-3, 0.1
"""Range of the step sizes."""


def random_log_dt(n: int) -> Float[Tensor, " n"]:
    """Draw the logarithms of `n` step sizes, uniform between log DT_MIN and log DT_MAX."""
    return torch.empty(n).uniform_(math.log(DT_MIN), math.log(DT_MAX))


def inverse_softplus(y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the inverse softplus of y > 0."""
    return y + torch.log(-torch.expm1(-y))
