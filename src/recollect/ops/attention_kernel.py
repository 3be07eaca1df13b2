"""PyTorch's attention kernel, alone and for a batch of models."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from recollect.ops.mapped import folded

KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""PyTorch's kernels that a batch of models may use."""


def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Call PyTorch's kernel on tensors with four dimensions, causal if there is no mask."""
    if q.device.type != "cpu" and not any(x.requires_grad for x in (q, k, v)):
        y: Tensor = _OfModels.apply(q, k, v, mask)  # type: ignore[no-untyped-call]
        return y
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)


class _OfModels(torch.autograd.Function):
    """PyTorch's kernel with a rule for `vmap` over models whose parameters need gradients.

    Under `vmap` no tensor says that it requires a gradient, and PyTorch's own rule (2.6 to 2.13)
    then leaves out what the backward pass of the GPU kernel needs. It also passes a mask that the
    models share to the kernel as if it belonged to one model. Without `vmap` there is no gradient.
    """

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor | None
    ) -> tuple[Tensor, int]:
        """Fold the models into the batch."""
        tensors = [x for x in inputs if x is not None]

        def of_batch(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> list[Tensor]:
            with sdpa_kernel(KERNELS):
                return [kernel(q, k, v, mask)]

        (y,), _ = folded(of_batch, info.batch_size, in_dims[: len(tensors)], tensors)
        return y, 0
