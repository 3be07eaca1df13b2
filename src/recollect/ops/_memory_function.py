"""The memories of `_triton_memory.py` as a function that can be differentiated once."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import _triton_memory
from recollect.ops.mapped import folded


class FusedMemory(torch.autograd.Function):
    """From the inputs of `_triton_memory.forward` to its outputs."""

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y, the last state, and the state that enters each chunk."""
        return _triton_memory.forward([tensor.contiguous() for tensor in inputs])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keeps the inputs and what enters each chunk."""
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(output[2], *inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dlast: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all inputs."""
        tensors = (dy, dlast, *ctx.saved_tensors)
        return _FusedMemoryBackward.apply(*tensors)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        """The mapped dimension joins the rows."""
        return folded(FusedMemory, info.batch_size, in_dims, inputs)


class _FusedMemoryBackward(torch.autograd.Function):
    """A function of its own, so that `vmap` over a gradient finds a rule for it."""

    @staticmethod
    def forward(*tensors: Tensor) -> tuple[Tensor, ...]:
        dy, dlast, entering, *inputs = (tensor.contiguous() for tensor in tensors)
        return tuple(_triton_memory.backward(inputs, entering, dy, dlast))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        return folded(_FusedMemoryBackward, info.batch_size, in_dims, inputs)


def fused_memory(
    q: Float[Tensor, "... L d_k"],
    k: Float[Tensor, "... L d_k"],
    v: Float[Tensor, "... L d_v"],
    log_decay: Float[Tensor, "... L d_k_or_1"] | None = None,
    initial_state: Float[Tensor, "... d_k d_v"] | None = None,
    removal: tuple[Float[Tensor, "... L d_k"], Float[Tensor, "... L d_k"]] | None = None,
) -> tuple[Float[Tensor, "... L d_v"], Float[Tensor, "... d_k d_v"]]:
    """y and the last state of

        S_t = diag(exp(w_t)) S_{t-1} - r_t (p_t' S_{t-1}) + k_t v_t',   y_t = S_t' q_t

    Args:
        q: queries.
        k: keys at which values are added.
        v: values.
        log_decay: w; no decay if None.
        initial_state: zeros if None.
        removal: p, at which is read what the memory gives up, and r, from where; nothing if None.
    """
    length, d_k = q.shape[-2:]
    w = q.new_zeros(length, 1) if log_decay is None else log_decay
    state = q.new_zeros(d_k, v.shape[-1]) if initial_state is None else initial_state
    inputs = (q, k, v, w, state, *(removal or ()))
    leading = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in inputs))
    rows = (
        tensor.expand(*leading, *tensor.shape[-2:]).reshape(-1, *tensor.shape[-2:])
        for tensor in inputs
    )
    y, last, _ = FusedMemory.apply(*rows)  # type: ignore[no-untyped-call]
    return y.view(*leading, *y.shape[1:]), last.view(*leading, *last.shape[1:])
