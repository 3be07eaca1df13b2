"""The selective scan: a diagonal recurrence whose decay depends on the input (S6).

    h_t = exp(delta_t A) * h_{t-1} + delta_t x_t B_t        y_t = C_t . h_t

It is the mixing of Mamba (Gu and Dao, 2023, arXiv 2312.00752, eq. 2 and section 3.2; B discretised
by Euler's rule, as in the authors' code). Every channel has its own d_state states; all channels
share B_t and C_t. Dimensions: L length, h the state (channels, d_state). All leading dimensions
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
from recollect.ops.shapes import broadcast_shapes

FUSED = (torch.float32, torch.float64)
"""Types that the fused forms support."""


def selective_scan_definition(
    x: Float[Tensor, "... L channels"],
    delta: Float[Tensor, "... L channels"],
    A: Float[Tensor, "... channels d_state"],
    B: Float[Tensor, "... L d_state"],
    C: Float[Tensor, "... L d_state"],
    initial_state: Float[Tensor, "... channels d_state"] | None = None,
) -> tuple[Float[Tensor, "... L channels"], Float[Tensor, "... channels d_state"]]:
    """Return the outputs and the final state, computed one position after the other."""
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
    """Return the outputs and the final state, computed by a fused form with first derivatives.

    The fused form is a compiled kernel on the CPU, and a Triton kernel or chunked PyTorch on other
    devices (`forms.py`). Types other than float32 and float64 use the definition, as does the CPU
    if numba's compiler is turned off.

    Args:
        x: inputs.
        delta: step sizes, positive in Mamba.
        A: rates, negative in Mamba: a step decays the state by exp(delta A).
        B: input weights of the states.
        C: output weights of the states.
        initial_state: None: zeros.

    Raises:
        UserError: if shapes do not match.
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
    """Return one output and the state after it; the given state is not modified."""
    decay = torch.exp(delta_t[..., None] * A)
    state = decay * state + (delta_t * x_t)[..., None] * B_t[..., None, :]
    return (state * C_t[..., None, :]).sum(-1), state


def selective_scan_multiply_adds(length: int, channels: int, d_state: int) -> int:
    """Multiply-adds for one sequence: delta x; delta A, decay, input and output of each state."""
    return length * channels * (1 + 4 * d_state)


def _is_fused(inputs: list[Tensor]) -> bool:
    """Whether a fused form supports these tensors."""
    if inputs[0].dtype not in FUSED or len({tensor.dtype for tensor in inputs}) > 1:
        return False
    if inputs[0].device.type != "cpu":
        return True
    from recollect.ops._scan_cpu import IS_COMPILED  # numba takes long to import

    return IS_COMPILED


def _kernels(inputs: list[Tensor]) -> ModuleType:
    """The module of kernels for these tensors, imported only when needed.

    The kernels store the state at the start of each chunk of positions and recompute the others for
    the gradients: storing every state would take d_state times the memory of the inputs. Inputs
    are x, delta (rows, L, channels), A (rows, d_state, channels), B, C (rows, L, d_state) and the
    initial state (rows, d_state, channels). Outputs are y, the final state, and the states at the
    starts of chunks (rows, chunks, d_state, channels).
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
    """Broadcast all arguments to the same leading dimensions; a missing state becomes zeros."""
    (length, channels), d_state = x.shape[-2:], A.shape[-1]
    state = A.new_zeros(channels, d_state) if state is None else state
    sizes = {"delta": (length, channels), "A": (channels, d_state), "B": (length, d_state)}
    sizes |= {"C": (length, d_state), "initial_state": (channels, d_state)}
    given = [x, delta, A, B, C, state]
    for (name, size), tensor in zip(sizes.items(), given[1:], strict=True):
        if tensor.shape[-2:] != size:
            expected = ", ".join(map(str, size))
            raise UserError(f"{name} of shape {tuple(tensor.shape)}: expected (..., {expected})")
    leading = broadcast_shapes(*(tensor.shape[:-2] for tensor in given))
    return [tensor.expand(*leading, *tensor.shape[-2:]) for tensor in given]
