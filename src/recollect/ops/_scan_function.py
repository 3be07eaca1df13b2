"""The selective scan as a function that can be differentiated once, whatever computes it.

Each form keeps the state that enters each chunk of positions, and computes the others anew for the
gradients: a state of its own for every position would take d_state times the memory of the inputs.

Letters as in `scan.py`; `rows` are the leading dimensions, folded into one. Channels come last
throughout, after d_state.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from recollect.ops import forms
from recollect.ops.mapped import folded


class FusedScan(torch.autograd.Function):
    """The scan of float32 or float64 tensors.

    From x, delta (rows, L, channels), A (rows, d_state, channels), B, C (rows, L, d_state) and the
    initial state (rows, d_state, channels) to y, the final state, and the state that enters each
    chunk, (rows, chunks, d_state, channels), which the backward pass starts from.
    """

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes as above."""
        return _form(inputs).forward(*(tensor.contiguous() for tensor in inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keeps the inputs and what enters each chunk."""
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(*inputs[:5], output[2])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dstate: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all six inputs."""
        tensors = (*ctx.saved_tensors, dy, dstate)
        return _FusedScanBackward.apply(*tensors)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        """The mapped dimension joins the rows."""
        return folded(FusedScan, info.batch_size, in_dims, inputs)


class _FusedScanBackward(torch.autograd.Function):
    """A function of its own, so that `vmap` over a gradient finds a rule for it."""

    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
        return _form(inputs).backward(*(tensor.contiguous() for tensor in inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        return folded(_FusedScanBackward, info.batch_size, in_dims, inputs)


def _form(tensors: tuple[Tensor, ...]) -> ModuleType:
    """The module whose `forward` and `backward` take these tensors; each loads a compiler."""
    form = forms.form_for(*tensors)
    if form == "cpu":
        from recollect.ops import _scan_cpu

        return _scan_cpu
    if form == "triton":
        from recollect.ops import _triton_scan

        return _triton_scan
    from recollect.ops import _scan_torch

    return _scan_torch
