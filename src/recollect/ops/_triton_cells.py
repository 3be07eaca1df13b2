"""What the kernels of `_triton_recurrent.py` do at one position.

A cell gets a tuple of its gates' inputs, `a` of the input and `b` of the state, in the order of
`recurrent.py` and `xlstm.py`. Its gradients take `dh`, all that later positions and the output ask
of h, and give those by `a`, those by `b`, and those by what else the position before left behind.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def gru(a, b, h):
    """The next h."""
    z, n = tl.sigmoid(a[1] + b[1]), _tanh(a[2] + tl.sigmoid(a[0] + b[0]) * b[2])
    return n + z * (h - n)


@triton.jit
@no_type_check
def gru_gradients(a, b, h, dh):
    """The last one is by the h before, as far as it is not read through `b`."""
    r, z = tl.sigmoid(a[0] + b[0]), tl.sigmoid(a[1] + b[1])
    n = _tanh(a[2] + r * b[2])
    dn = dh * (1 - z) * (1 - n * n)
    dr, dz = dn * b[2] * r * (1 - r), dh * (h - n) * z * (1 - z)
    return (dr, dz, dn), (dr, dz, dn * r), dh * z


@triton.jit
@no_type_check
def lstm(a, b, cell):
    """The next h and cell."""
    cell = tl.sigmoid(a[1] + b[1]) * cell + tl.sigmoid(a[0] + b[0]) * _tanh(a[2] + b[2])
    return tl.sigmoid(a[3] + b[3]) * _tanh(cell), cell


@triton.jit
@no_type_check
def lstm_gradients(a, b, cell, before, dh, dcell):
    """By `a`, which are those by `b`, and by the cell before."""
    i, f = tl.sigmoid(a[0] + b[0]), tl.sigmoid(a[1] + b[1])
    g, o = _tanh(a[2] + b[2]), tl.sigmoid(a[3] + b[3])
    read = _tanh(cell)
    dcell += dh * o * (1 - read * read)
    di, df = dcell * g * i * (1 - i), dcell * before * f * (1 - f)
    return (di, df, dcell * i * (1 - g * g), dh * read * o * (1 - o)), dcell * f


@triton.jit
@no_type_check
def slstm(a, b, c, n, m):
    """The next h, sums and exponent."""
    write, keep, m = _exponential_gates(a[0] + b[0], a[1] + b[1], m)
    c, n = keep * c + write * _tanh(a[2] + b[2]), keep * n + write
    return tl.sigmoid(a[3] + b[3]) * c / n, c, n, m


@triton.jit
@no_type_check
def slstm_gradients(a, b, now, before, m, dh, dc, dn):
    """By `a`, which are those by `b`, and by the sums before; m, the exponent before, cancels."""
    f, z, o = a[1] + b[1], _tanh(a[2] + b[2]), tl.sigmoid(a[3] + b[3])
    write, keep, _ = _exponential_gates(a[0] + b[0], f, m)
    n = tl.where(now[1] > 0, now[1], 1.0)  # outside of the row it is 0
    read = now[0] / n
    dc += dh * o / n
    dn -= dh * o * read / n
    df = (dc * before[0] + dn * before[1]) * keep * tl.sigmoid(-f)
    by_gates = ((dc * z + dn) * write, df, dc * write * (1 - z * z), dh * read * o * (1 - o))
    return by_gates, dc * keep, dn * keep


@triton.jit
@no_type_check
def _exponential_gates(i, f, m):
    """What sLSTM writes and keeps, and the largest exponent after it."""
    log_f = tl.minimum(f, 0.0) - tl.log(1 + tl.exp(-tl.abs(f)))
    after = tl.maximum(log_f + m, i)
    return tl.exp(i - after), tl.exp(log_f + m - after), after


@triton.jit
@no_type_check
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1
