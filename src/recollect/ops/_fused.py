"""Fused kernels as one function that can be differentiated once and mapped over."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from recollect.ops.mapped import folded


def fused(kernels: ModuleType, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and the last state.

    Args:
        kernels: what computes them, as `Fused` describes it.
        inputs: all dimensions but the last two are leading ones, which broadcast.
    """
    leading = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in inputs))
    rows = (
        tensor.expand(*leading, *tensor.shape[-2:]).reshape(-1, *tensor.shape[-2:])
        for tensor in inputs
    )
    y, last, _ = Fused.apply(kernels, *rows)  # type: ignore[no-untyped-call]
    return y.reshape(*leading, *y.shape[1:]), last.reshape(*leading, *last.shape[1:])


class Fused(torch.autograd.Function):
    """What a module of kernels, or an object, computes. Each tensor has rows, the leading
    dimensions folded into one, as its first dimension. The module has

    - `forward(*inputs)`: outputs, the last state among them, and at the end what the backward pass
      starts from, which has no gradient;
    - `saved(inputs, outputs)`: what is kept of both, no more than gradients need;
    - `backward(*saved, *by_outputs)`: the gradients by all inputs.
    """

    @staticmethod
    def forward(kernels: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Call it with contiguous tensors."""
        return kernels.forward(*(tensor.contiguous() for tensor in inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what gradients need."""
        ctx.kernels, *tensors = inputs
        ctx.mark_non_differentiable(output[-1])
        ctx.save_for_backward(*ctx.kernels.saved(tensors, output))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by all inputs."""
        tensors = (*ctx.saved_tensors, *gradients[:-1])
        return None, *_FusedBackward.apply(ctx.kernels, *tensors)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], kernels: Any, *inputs: Tensor
    ) -> tuple[Any, Any]:
        """The mapped dimension joins the rows."""
        return folded(partial(Fused.apply, kernels), info.batch_size, in_dims[1:], inputs)


class _FusedBackward(torch.autograd.Function):
    """A function of its own, so that `vmap` over a gradient finds a rule for it."""

    @staticmethod
    def forward(kernels: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return kernels.backward(*(tensor.contiguous() for tensor in tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], kernels: Any, *tensors: Tensor
    ) -> tuple[Any, Any]:
        return folded(partial(_FusedBackward.apply, kernels), info.batch_size, in_dims[1:], tensors)
