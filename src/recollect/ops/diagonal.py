"""The diagonal recurrence: every channel decays on its own and adds its own input.

    h_t = a_t h_{t-1} + b_t

It is the mixing of RG-LRU (a_t depends on the input); RWKV-4 uses it twice (`wkv.py`). With a
constant decay it is a convolution with the filter of `diagonal_filter`, the form in which S4D and
H3 train.

Dimensions: L length, h the state, K length of a filter, n one of the N states of a channel. All
leading dimensions broadcast.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor

from recollect.ops import forms
from recollect.ops.chunks import scan_by_doubling
from recollect.ops.cost import declares, rows
from recollect.ops.mapped import mapped_first


def diagonal_scan_definition(
    a: Float[Tensor, "... L channels"],
    b: Float[Tensor, "... L channels"],
    initial_state: Float[Tensor, "... channels"] | None = None,
) -> Float[Tensor, "... L channels"]:
    """Compute the state at every position, one position after the other."""
    state = torch.zeros_like(b[..., 0, :]) if initial_state is None else initial_state
    states = []
    for t in range(b.shape[-2]):
        state = diagonal_scan_step(a[..., t, :], b[..., t, :], state)
        states.append(state)
    return torch.stack(states, dim=-2)


@declares(
    lambda a, b, initial_state: (
        rows(a[..., 0, :], b[..., 0, :], initial_state, dims=1)
        * diagonal_scan_multiply_adds(*b.shape[-2:])
    )
)
def diagonal_scan(
    a: Float[Tensor, "... L channels"],
    b: Float[Tensor, "... L channels"],
    initial_state: Float[Tensor, "... channels"] | None = None,
) -> Float[Tensor, "... L channels"]:
    """Compute the state at every position; the gradient is the same scan backwards in time.

    Nothing is divided by a decay, so every decay is safe, including zero.

    Args:
        a: decays.
        b: inputs.
        initial_state: None: zeros.

    Returns:
        The state at every position; the last one is the final state.
    """
    if initial_state is not None:
        first = diagonal_scan_step(a[..., :1, :], b[..., :1, :], initial_state[..., None, :])
        b = torch.cat([first, b[..., 1:, :].expand(*first.shape[:-2], -1, -1)], dim=-2)
    a, b = torch.broadcast_tensors(a, b)
    return _Scan.apply(a, b, False)  # type: ignore[no-untyped-call]


def diagonal_scan_step(
    a_t: Inexact[Tensor, "... channels"],
    b_t: Inexact[Tensor, "... channels"],
    state: Inexact[Tensor, "... channels"],
) -> Inexact[Tensor, "... channels"]:
    """Return the state after one position, real or (as in S4D) complex."""
    return a_t * state + b_t


def diagonal_scan_multiply_adds(length: int, channels: int) -> int:
    """Multiply-adds for one sequence."""
    return length * channels


def diagonal_filter_definition(
    log_a: Complex[Tensor, "... channels N"], c: Complex[Tensor, "... channels N"], length: int
) -> Float[Tensor, "... K channels"]:
    """The filter h_s = 2 Re(sum over n of c_n a_n^s), term by term.

    A convolution with it equals a diagonal recurrence with decays `a` and their complex conjugates,
    read by c and its conjugate.
    """
    taps = [2 * (c * (log_a * s).exp()).sum(-1).real for s in range(length)]
    return torch.stack(taps, dim=-2)


@declares(
    lambda log_a, c, length: rows(log_a, c) * diagonal_filter_multiply_adds(length, *c.shape[-2:])
)
def diagonal_filter(
    log_a: Complex[Tensor, "... channels N"], c: Complex[Tensor, "... channels N"], length: int
) -> Float[Tensor, "... K channels"]:
    """Compute the filter with 2 sqrt(K) powers of each decay instead of K.

    A lag is `side * i + j`; a matrix product combines the powers of both parts.

    Args:
        log_a: logarithms of the decays, with real parts of at most 0.
        c: output weight of each state.
        length: number of taps, K.
    """
    side = _side(length)
    lag = torch.arange(side, dtype=log_a.real.dtype, device=log_a.device)
    if forms.form_for(lag) == "cpu":
        small, powers = (log_a[..., None] * lag).exp(), (log_a[..., None] * (side * lag)).exp()
    else:  # in one operator, which is one launch
        small, powers = (log_a[..., None] * torch.cat([lag, side * lag])).exp().chunk(2, dim=-1)
    large = c[..., None] * powers
    taps = 2 * (large.mT @ small).real
    return taps.flatten(-2)[..., :length].mT


def diagonal_filter_multiply_adds(length: int, channels: int, n_states: int) -> int:
    """Multiply-adds of the matrix product, four per complex one; exponentials do not count."""
    return 4 * channels * n_states * _side(length) ** 2


def _side(length: int) -> int:
    """The smallest number whose square is at least `length`."""
    return math.isqrt(length - 1) + 1


class _Scan(torch.autograd.Function):
    """The scan of two tensors of one shape, forward or backward in time."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, backwards: bool) -> Tensor:
        form = forms.form_for(a, b)
        if form == "cpu":
            return _by_position(a, b, backwards)
        if form == "torch":
            return scan_by_doubling(a, b, backwards=backwards)
        from recollect.ops._triton_diagonal import scan  # Triton may not be installed

        return scan(a, b, backwards)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        a, _, ctx.backwards = inputs
        ctx.save_for_backward(a, output)

    @staticmethod
    def backward(ctx: Any, dstates: Tensor) -> tuple[Tensor, Tensor, None]:
        a, states = ctx.saved_tensors
        # the gradient flows from each state to the previous one, times the decay between them
        nothing = torch.zeros_like(a[..., :1, :])
        if ctx.backwards:
            decay = torch.cat([nothing, a[..., :-1, :]], dim=-2)
            before = torch.cat([states[..., 1:, :], nothing], dim=-2)
        else:
            decay = torch.cat([a[..., 1:, :], nothing], dim=-2)
            before = torch.cat([nothing, states[..., :-1, :]], dim=-2)
        db = _Scan.apply(decay, dstates, not ctx.backwards)  # type: ignore[no-untyped-call]
        return db * before, db, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, int | None, None],
        a: Tensor,
        b: Tensor,
        backwards: bool,
    ) -> tuple[Tensor, int]:
        mapped = mapped_first(info.batch_size, in_dims[:2], (a, b))
        return _Scan.apply(*mapped, backwards), 0  # type: ignore[no-untyped-call]


def _by_position(a: Tensor, b: Tensor, backwards: bool) -> Tensor:
    """Loop over positions and write each state in place.

    With large leading dimensions this is memory-bound (a compiled kernel takes the same time), and
    it needs no copies.
    """
    states = torch.empty_like(b, memory_format=torch.contiguous_format)
    decays, inputs, outputs = a.unbind(-2), b.unbind(-2), states.unbind(-2)
    order = range(len(inputs) - 1, -1, -1) if backwards else range(len(inputs))
    before = None
    for t in order:
        if before is None:
            outputs[t].copy_(inputs[t])
        else:
            torch.addcmul(inputs[t], decays[t], outputs[before], out=outputs[t])
        before = t
    return states
