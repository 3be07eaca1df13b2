"""Recurrent networks with gates that depend on the state, as Triton kernels, one per direction.

A program holds the state of one row and the recurrent weights of its group in registers, and loops
over time. `_triton_cells.py` computes one position. The rows of a group share weights: they are the
examples of one model, or of one of its heads. The backward pass computes the state's part of the
gates, b = U h + c, and the gradients of U and c by one matrix product each; its kernel only loops
back over time.

Shapes: a (groups, rows, L, gates * d), U (groups, gates * d, d), c (groups, gates * d), states
(groups, rows, L, d). All tensors are contiguous, of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from recollect.ops import _triton_cells as cells
from recollect.ops._fused import Fused
from recollect.ops._triton_rows import at, put

CHUNK = 2
"""Positions that are loaded together."""
NUMBERS_OF_A_THREAD = 64
"""Recurrent weights per thread."""


@dataclass(frozen=True)
class Cell:
    """The kernels of one kind of network, for `_fused.py`.

    Attributes:
        kind: "gru", "lstm" or "slstm".
        gates: gates per channel.
        sums: numbers that a channel carries besides h.
    """

    kind: str
    gates: int
    sums: int

    def forward(self, a: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return h and the sums at every position."""
        return _states(a, weight, bias, self.kind, self.gates, self.sums)

    def saved(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return all inputs and outputs."""
        return *inputs, *outputs

    def backward(
        self, a: Tensor, weight: Tensor, bias: Tensor, h: Tensor, sums: Tensor, dh: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of a, U and c."""
        before = F.pad(h, (0, 0, 1, -1)).flatten(1, 2)
        b = torch.baddbmm(bias[:, None], before, weight.mT).view_as(a)
        kernel = self.kind, self.gates, self.sums
        da, db = _gradients(a, b, weight, h, sums, dh, *kernel)
        db = db.flatten(1, 2)
        return da, db.mT @ before, db.sum(1)

    def states(
        self,
        a: Float[Tensor, "groups rows L gates"],
        weight: Float[Tensor, "groups gates d"],
        bias: Float[Tensor, "groups gates"],
    ) -> Float[Tensor, "groups rows L d"]:
        """Return h at every position; it has first derivatives only."""
        h: Tensor = Fused.apply(self, a, weight, bias)[0]  # type: ignore[no-untyped-call]
        return h


GRU, LSTM, SLSTM = Cell("gru", 3, 0), Cell("lstm", 4, 1), Cell("slstm", 4, 3)


@torch.library.custom_op(
    "recollect::recurrent",
    mutates_args=(),
    schema="(Tensor a, Tensor weight, Tensor bias, str kind, int gates, int sums)"
    " -> (Tensor, Tensor)",
)
def _states(
    a: Tensor, weight: Tensor, bias: Tensor, kind: str, gates: int, sums: int
) -> tuple[Tensor, Tensor]:
    outputs = _outputs(a, weight, sums)
    _launch(_forward, a, weight, (a, weight, bias, *outputs), Cell(kind, gates, sums))
    return outputs


@torch.library.custom_op(
    "recollect::recurrent_backward",
    mutates_args=(),
    schema="(Tensor a, Tensor b, Tensor weight, Tensor h, Tensor sums, Tensor dh, str kind,"
    " int gates, int n_sums) -> (Tensor, Tensor)",
)
def _gradients(
    a: Tensor,
    b: Tensor,
    weight: Tensor,
    h: Tensor,
    sums: Tensor,
    dh: Tensor,
    kind: str,
    gates: int,
    n_sums: int,
) -> tuple[Tensor, Tensor]:
    outputs = torch.empty_like(a), torch.empty_like(a)
    _launch(_backward, a, weight, (a, b, weight, h, sums, dh, *outputs), Cell(kind, gates, n_sums))
    return outputs


def _outputs(a: Tensor, weight: Tensor, sums: int) -> tuple[Tensor, Tensor]:
    d = weight.shape[-1]
    return a.new_empty(*a.shape[:-1], d), a.new_empty(*a.shape[:-1], sums * d)


_states.register_fake(lambda *inputs: _outputs(inputs[0], inputs[1], inputs[-1]))
_gradients.register_fake(lambda a, *_: (torch.empty_like(a), torch.empty_like(a)))


def _launch(
    kernel: Any, a: Tensor, weight: Tensor, tensors: tuple[Tensor, ...], cell: Cell
) -> None:
    """Run a kernel on all rows of all groups."""
    groups, rows, length, _ = a.shape
    d = weight.shape[-1]
    width = triton.next_power_of_2(d)
    threads = cell.gates * width**2 // NUMBERS_OF_A_THREAD
    with torch.cuda.device_of(a):
        kernel[groups * rows,](
            *tensors,
            rows,
            length,
            d,
            KIND=cell.kind,
            GATES=cell.gates,
            SUMS=cell.sums,
            CHUNK=CHUNK,
            WIDTH=width,
            num_warps=max(1, min(16, triton.next_power_of_2(threads) // 32)),
        )


@triton.jit
@no_type_check
def _forward(
    a,
    weight,
    bias,
    h,
    sums,
    rows,
    length,
    d,
    KIND: tl.constexpr,
    GATES: tl.constexpr,
    SUMS: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, WIDTH)
    u = _weights(weight, row // rows, d, GATES, WIDTH)
    c = _parts(bias, row // rows, 0, channel, 1, d, GATES)
    state = tl.zeros([WIDTH], tl.float32)
    x, y, m = state, state, state  # the sums; a cell may use fewer
    if KIND == "slstm":
        m = m - float("inf")
    for start in range(0, length, CHUNK):
        inputs, outputs = (), ()
        for i in tl.static_range(CHUNK):
            inputs = inputs + (_parts(a, row, start + i, channel, length, d, GATES),)
        for i in tl.static_range(CHUNK):
            b = ()
            for g in tl.static_range(GATES):
                b = b + (tl.sum(u[g] * state[None, :], 1) + c[g],)
            if KIND == "gru":
                state = cells.gru(inputs[i], b, state)
            elif KIND == "lstm":
                state, x = cells.lstm(inputs[i], b, x)
            else:
                state, x, y, m = cells.slstm(inputs[i], b, x, y, m)
            outputs = outputs + ((state, x, y, m),)
        for i in tl.static_range(CHUNK):
            put(h, outputs[i][0], row, start + i, channel, length, d)
            for s in tl.static_range(SUMS):
                _put_part(sums, outputs[i][s + 1], row, start + i, s, channel, length, d, SUMS)


@triton.jit
@no_type_check
def _backward(
    a,
    b,
    weight,
    h,
    sums,
    dh,
    da,
    db,
    rows,
    length,
    d,
    KIND: tl.constexpr,
    GATES: tl.constexpr,
    SUMS: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, WIDTH)
    u = _weights(weight, row // rows, d, GATES, WIDTH)
    nothing = tl.zeros([WIDTH], tl.float32)
    dstate, dx, dy = nothing, nothing, nothing  # gradients of what goes to the next position
    for start in range(0, length, CHUNK):
        outputs = ()
        for i in tl.static_range(CHUNK):
            t = length - 1 - start - i
            a_t = _parts(a, row, t, channel, length, d, GATES)
            b_t = _parts(b, row, t, channel, length, d, GATES)
            now = _parts(sums, row, t, channel, length, d, SUMS)
            before = _parts(sums, row, t - 1, channel, length, d, SUMS)
            dstate += at(dh, row, t, channel, length, d)
            if KIND == "gru":
                h_t = at(h, row, t - 1, channel, length, d)
                by_a, by_b, dstate = cells.gru_gradients(a_t, b_t, h_t, dstate)
            elif KIND == "lstm":
                by_a, dx = cells.lstm_gradients(a_t, b_t, now[0], before[0], dstate, dx)
                by_b, dstate = by_a, nothing
            else:
                m = tl.where(t > 0, before[2], -float("inf"))
                by_a, dx, dy = cells.slstm_gradients(a_t, b_t, now, before, m, dstate, dx, dy)
                by_b, dstate = by_a, nothing
            for g in tl.static_range(GATES):
                dstate += tl.sum(u[g] * by_b[g][:, None], 0)
            outputs = outputs + ((by_a, by_b),)
        for i in tl.static_range(CHUNK):
            t = length - 1 - start - i
            for g in tl.static_range(GATES):
                _put_part(da, outputs[i][0][g], row, t, g, channel, length, d, GATES)
                _put_part(db, outputs[i][1][g], row, t, g, channel, length, d, GATES)


@triton.jit
@no_type_check
def _weights(weight, group, d, GATES: tl.constexpr, WIDTH: tl.constexpr):
    """Load U of each gate."""
    out, into = tl.arange(0, WIDTH)[:, None], tl.arange(0, WIDTH)[None, :]
    there = (out < d) & (into < d)
    u = ()
    for g in tl.static_range(GATES):
        u = u + (tl.load(weight + ((group * GATES + g) * d + out) * d + into, there, other=0.0),)
    return u


@triton.jit
@no_type_check
def _parts(tensor, row, t, channel, length, d, PARTS: tl.constexpr):
    """Load the gates or sums of a position; 0 outside of the tensor."""
    there = (t >= 0) & (t < length) & (channel < d)
    parts = ()
    for g in tl.static_range(PARTS):
        place = ((row * length + t) * PARTS + g) * d + channel
        parts = parts + (tl.load(tensor + place, there, other=0.0),)
    return parts


@triton.jit
@no_type_check
def _put_part(tensor, value, row, t, part, channel, length, d, PARTS: tl.constexpr):
    """Store one of them, unless it is outside of the tensor."""
    there = (t >= 0) & (t < length) & (channel < d)
    tl.store(tensor + ((row * length + t) * PARTS + part) * d + channel, value, there)
