"""The selective scan: a diagonal recurrence whose decay depends on the input (S6).

    h_t = exp(delta_t A) * h_{t-1} + delta_t x_t B_t        y_t = C_t . h_t

The mixing of Mamba (Gu and Dao, 2023, arXiv 2312.00752, eq. 2 and section 3.2; B discretised by
Euler's rule, as in the authors' code). Every channel has d_state states of its own; B_t and C_t are
common to all channels. Letters: L length, h the state (channels, d_state). All leading dimensions
broadcast.
"""

from __future__ import annotations

from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.errors import UserError
from recollect.ops import forms
from recollect.ops._fused import fused
from recollect.ops.cost import declares, rows

FUSED = (torch.float32, torch.float64)
"""Types that the fused forms know."""


def selective_scan_definition(
    x: Float[Tensor, "... L channels"],
    delta: Float[Tensor, "... L channels"],
    A: Float[Tensor, "... channels d_state"],
    B: Float[Tensor, "... L d_state"],
    C: Float[Tensor, "... L d_state"],
    initial_state: Float[Tensor, "... channels d_state"] | None = None,
) -> tuple[Float[Tensor, "... L channels"], Float[Tensor, "... channels d_state"]]:
    """The recurrence above, one position after the other: outputs, and the last state."""
    x, delta, A, B, C, state = _broadcast(x, delta, A, B, C, initial_state)
    outputs = []
    for t in range(x.shape[-2]):
        y_t, state = selective_scan_step(
            x[..., t, :], delta[..., t, :], A, B[..., t, :], C[..., t, :], state
        )
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2), state


@declares(
    lambda x, delta, A, B, C, initial_state: (
        rows(x, delta, A, B, C, initial_state)
        * selective_scan_multiply_adds(x.shape[-2], x.shape[-1], A.shape[-1])
    )
)
def selective_scan(
    x: Float[Tensor, "... L channels"],
    delta: Float[Tensor, "... L channels"],
    A: Float[Tensor, "... channels d_state"],
    B: Float[Tensor, "... L d_state"],
    C: Float[Tensor, "... L d_state"],
    initial_state: Float[Tensor, "... channels d_state"] | None = None,
) -> tuple[Float[Tensor, "... L channels"], Float[Tensor, "... channels d_state"]]:
    """The same by fused forms that can be differentiated once: compiled on the CPU, a Triton kernel
    or plain PyTorch by chunks on other devices (`forms.py`).

    Types other than float32 and float64 take the definition; so do all on the CPU where numba is
    told not to compile.

    Args:
        x: inputs.
        delta: step sizes, in Mamba > 0.
        A: rates, in Mamba < 0: a step decays the state by exp(delta A).
        B: how much of the input each state takes up.
        C: how much of each state the output reads.
        initial_state: zeros if None.

    Raises:
        UserError: for shapes that do not fit together.
    """
    inputs = _broadcast(x, delta, A, B, C, initial_state)
    if not _is_fused(inputs):
        return selective_scan_definition(*inputs)
    x, delta, A, B, C, state = inputs
    y, last = fused(_kernels(inputs), x, delta, A.mT, B, C, state.mT)
    return y, last.mT


def selective_scan_step(
    x_t: Float[Tensor, "... channels"],
    delta_t: Float[Tensor, "... channels"],
    A: Float[Tensor, "... channels d_state"],
    B_t: Float[Tensor, "... d_state"],
    C_t: Float[Tensor, "... d_state"],
    state: Float[Tensor, "... channels d_state"],
) -> tuple[Float[Tensor, "... channels"], Float[Tensor, "... channels d_state"]]:
    """One position: its output, and the state after it; the given state stays as it is."""
    decay = torch.exp(delta_t[..., None] * A)
    state = decay * state + (delta_t * x_t)[..., None] * B_t[..., None, :]
    return (state * C_t[..., None, :]).sum(-1), state


def selective_scan_multiply_adds(length: int, channels: int, d_state: int) -> int:
    """Multiply-adds for one sequence: delta x; delta A, decay, input and output of each state."""
    return length * channels * (1 + 4 * d_state)


def _is_fused(inputs: list[Tensor]) -> bool:
    """Whether a fused form takes these tensors."""
    if inputs[0].dtype not in FUSED or len({tensor.dtype for tensor in inputs}) > 1:
        return False
    if inputs[0].device.type != "cpu":
        return True
    from recollect.ops._scan_cpu import IS_COMPILED  # numba takes long to import

    return IS_COMPILED


def _kernels(inputs: list[Tensor]) -> ModuleType:
    """What computes the scan of these tensors; each loads a compiler of its own.

    All keep the state that enters each chunk of positions, and compute the others anew for the
    gradients: one state for every position would take d_state times the memory of the inputs. They
    take x, delta (rows, L, channels), A (rows, d_state, channels), B, C (rows, L, d_state) and the
    initial state (rows, d_state, channels), and give y, the final state, and the states that enter
    chunks (rows, chunks, d_state, channels).
    """
    form = forms.form_for(*inputs)
    if form == "cpu":
        from recollect.ops import _scan_cpu

        return _scan_cpu
    if form == "triton":
        from recollect.ops import _triton_scan

        return _triton_scan
    from recollect.ops import _scan_torch

    return _scan_torch


def _broadcast(
    x: Float[Tensor, "... L channels"],
    delta: Float[Tensor, "... L channels"],
    A: Float[Tensor, "... channels d_state"],
    B: Float[Tensor, "... L d_state"],
    C: Float[Tensor, "... L d_state"],
    state: Float[Tensor, "... channels d_state"] | None,
) -> list[Tensor]:
    """All arguments with the same leading dimensions, and zeros for a missing state."""
    (length, channels), d_state = x.shape[-2:], A.shape[-1]
    state = A.new_zeros(channels, d_state) if state is None else state
    sizes = {"delta": (length, channels), "A": (channels, d_state), "B": (length, d_state)}
    sizes |= {"C": (length, d_state), "initial_state": (channels, d_state)}
    given = [x, delta, A, B, C, state]
    for (name, size), tensor in zip(sizes.items(), given[1:], strict=True):
        if tensor.shape[-2:] != size:
            expected = ", ".join(map(str, size))
            raise UserError(f"{name} of shape {tuple(tensor.shape)}: expected (..., {expected})")
    leading = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in given))
    return [tensor.expand(*leading, *tensor.shape[-2:]) for tensor in given]
