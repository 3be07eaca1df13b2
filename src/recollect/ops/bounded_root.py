"""The square root with a gradient that is bounded near zero.

    y = sqrt(x),   dy/dx = min(1 / (2 sqrt(x)), 1000)

RG-LRU's recurrence uses it, as in the authors' code (De et al., 2024, arXiv 2402.19427).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

STEEPEST = 1000.0
"""The bound of the gradient."""


def bounded_root_definition(x: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """The root where its slope is within the bound; elsewhere a line with the bound as slope."""
    flattest = 1 / (2 * STEEPEST) ** 2
    line = x.sqrt().detach() + STEEPEST * (x - x.detach())
    return torch.where(x < flattest, line, x.clamp(min=flattest).sqrt())


def bounded_root(x: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """The square root, with the bounded gradient as a custom backward pass."""
    root: Tensor = _BoundedRoot.apply(x)  # type: ignore[no-untyped-call]
    return root


class _BoundedRoot(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sqrt()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], _: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, by_root: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return by_root / (4 * x).clamp(min=STEEPEST**-2).sqrt()
