"""Lion: steps of constant size in the direction of the momentum's sign (Chen et al., 2023, arXiv
2302.06675)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = "exp_avg"
"""Name of the momentum in the optimiser's state."""
BETA1, BETA2 = 0.9, 0.99
"""Betas of the paper: of the direction of a step, and of the stored momentum."""


class Lion(torch.optim.Optimizer):
    """Lion as a PyTorch optimiser.

    Args:
        params: parameters, or groups of them.
        lr: step size of every element of a parameter.
        weight_decay: each step shrinks parameters by this times `lr`.
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
