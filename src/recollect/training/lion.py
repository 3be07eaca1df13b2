"""Lion: steps of one size, in the direction of a momentum's sign (Chen et al., 2023, arXiv
2302.06675)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = "exp_avg"
"""What it keeps of every parameter."""
BETA1, BETA2 = 0.9, 0.99
"""Those of the paper: the direction of a step, and the momentum that is kept."""


class Lion(torch.optim.Optimizer):
    """Lion as an optimiser of PyTorch's.

    Args:
        params: parameters, or groups of them.
        lr: the size of a step, of each number of a parameter.
        weight_decay: a step shrinks parameters by this times `lr`.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-4, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("Lion takes no closure")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    momentum = self.state[p].setdefault(MOMENTUM, torch.zeros_like(p))
                    lion_step(p, p.grad, momentum, group["lr"], group["weight_decay"])


def lion_step(
    theta: Tensor,
    gradient: Tensor,
    momentum: Tensor,
    rate: float | Tensor,
    decay: float | Tensor,
) -> None:
    """Update parameters and momentum in place; rate and decay may be tensors that broadcast."""
    theta.mul_(1 - rate * decay)
    theta.sub_(rate * gradient.lerp(momentum, BETA1).sign_())
    momentum.lerp_(gradient, 1 - BETA2)
