"""Fused kernels as one autograd function with first derivatives and a rule for `vmap`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from recollect.ops.mapped import folded
from recollect.ops.shapes import broadcast_shapes


def fused(kernels: ModuleType, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outputs and the final state.

    Args:
        kernels: the module of kernels, as described in `Fused`.
        inputs: tensors (..., L, columns); their leading dimensions broadcast.
    """
    leading = broadcast_shapes(*(tensor.shape[:-2] for tensor in inputs))
    rows = (
        tensor.expand(*leading, *tensor.shape[-2:]).reshape(-1, *tensor.shape[-2:])
        for tensor in inputs
    )
    y, last, _ = Fused.apply(kernels, *rows)  # type: ignore[no-untyped-call]
    return y.reshape(*leading, *y.shape[1:]), last.reshape(*leading, *last.shape[1:])


@dataclass(frozen=True)
class OneOutput:
    """What `Fused` needs of kernels with one output, whose backward pass reads the inputs alone.

    Attributes:
        output: computes the output.
        gradients: computes the gradients of all inputs from the inputs and the output's gradient.
    """

    output: Callable[..., Tensor]
    gradients: Callable[..., tuple[Tensor, ...]]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output, and an empty tensor for the backward pass."""
        return self.output(*inputs), inputs[0].new_empty(len(inputs[0]), 0)

    def saved(self, inputs: Sequence[Tensor], _: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the inputs."""
        return tuple(inputs)

    def backward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of all inputs."""
        return self.gradients(*tensors)


class Fused(torch.autograd.Function):
    """A module of kernels, or an object with the same functions, as an autograd function.

    The first dimension of each tensor is `rows`: all leading dimensions folded into one. The
    kernels have three functions:

    - `forward(*inputs)`: the outputs, and last a tensor for the backward pass, without a gradient;
    - `saved(inputs, outputs)`: the tensors that the backward pass needs;
    - `backward(*saved, *by_outputs)`: the gradients of all inputs.
    """

    @staticmethod
    def forward(kernels: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the forward kernel on contiguous tensors."""
        return kernels.forward(*(tensor.contiguous() for tensor in inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save the tensors that gradients need."""
        ctx.kernels, *tensors = inputs
        ctx.mark_non_differentiable(output[-1])
        ctx.save_for_backward(*ctx.kernels.saved(tensors, output))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs."""
        tensors = (*ctx.saved_tensors, *gradients[:-1])
        return None, *_FusedBackward.apply(ctx.kernels, *tensors)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], kernels: Any, *inputs: Tensor
    ) -> tuple[Any, Any]:
        """Fold the mapped dimension into the rows."""
        return folded(partial(Fused.apply, kernels), info.batch_size, in_dims[1:], inputs)


class _FusedBackward(torch.autograd.Function):
    """The backward pass as a function of its own, which gives `vmap` over a gradient its rule."""

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
