"""What CUDA has one kernel for, and a PyTorch without CUDA does by several operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
) -> Tensor:
    """The kernel that CUDA takes in float32, and with a mask in bfloat16: a PyTorch without CUDA
    would choose another one. It keeps what its backward pass needs if a tensor requires a gradient;
    under `vmap` none does."""
    if not torch.backends.cuda.mem_efficient_sdp_enabled():
        math = torch.ops.aten._scaled_dot_product_attention_math
        return math(q, k, v, attn_mask, dropout_p, is_causal)[0]
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    mask = attn_mask
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.where(mask, 0.0, -torch.inf).to(q.dtype)
        mask = mask.expand(*q.shape[:-1], k.shape[-2])
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(q, k, v, mask, keep, dropout_p, is_causal)[0]


def rms_norm(
    by_operators: Callable[..., Tensor],
    x: Tensor,
    shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """CUDA has kernels for it, which a PyTorch without CUDA lacks. A `vmap` does without them."""
    scale = x.new_empty(()) if weight is None else weight
    if x.device.type != "cuda" or is_batchedtensor(x) or x.dtype != scale.dtype:
        return by_operators(x, shape, weight, eps)
    normed: Tensor = _RMSNorm.apply(x, scale)  # type: ignore[no-untyped-call]
    return normed


class _RMSNorm(torch.autograd.Function):
    """As many launches as CUDA has, one forwards and two backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        _, scale = ctx.saved_tensors
        return gradient.clone(), scale.clone()
