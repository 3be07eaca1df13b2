"""One position of each recurrent network, for the kernels of `_triton_recurrent.py`.

`a` is the input's part of the gates and `b` the state's part, as tuples in the order of
`recurrent.py` and `xlstm.py`. `dh` is the gradient of h, from the output and from later positions.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def gru(a, b, h):
    """Return the next h."""
    z, n = tl.sigmoid(a[1] + b[1]), _tanh(a[2] + tl.sigmoid(a[0] + b[0]) * b[2])
    return n + z * (h - n)


@triton.jit
@no_type_check
def gru_gradients(a, b, h, dh):
    """Return the gradients of `a`, of `b`, and of the previous h except through `b`."""
    r, z = tl.sigmoid(a[0] + b[0]), tl.sigmoid(a[1] + b[1])
    n = _tanh(a[2] + r * b[2])
    dn = dh * (1 - z) * (1 - n * n)
    dr, dz = dn * b[2] * r * (1 - r), dh * (h - n) * z * (1 - z)
    return (dr, dz, dn), (dr, dz, dn * r), dh * z


@triton.jit
@no_type_check
def lstm(a, b, cell):
    """Return the next h and cell."""
    cell = tl.sigmoid(a[1] + b[1]) * cell + tl.sigmoid(a[0] + b[0]) * _tanh(a[2] + b[2])
    return tl.sigmoid(a[3] + b[3]) * _tanh(cell), cell


@triton.jit
@no_type_check
def lstm_gradients(a, b, cell, before, dh, dcell):
    """Return the gradients of `a`, which are those of `b`, and of the previous cell."""
    i, f = tl.sigmoid(a[0] + b[0]), tl.sigmoid(a[1] + b[1])
    g, o = _tanh(a[2] + b[2]), tl.sigmoid(a[3] + b[3])
    read = _tanh(cell)
    dcell += dh * o * (1 - read * read)
    di, df = dcell * g * i * (1 - i), dcell * before * f * (1 - f)
    return (di, df, dcell * i * (1 - g * g), dh * read * o * (1 - o)), dcell * f


@triton.jit
@no_type_check
def slstm(a, b, c, n, m):
    """Return the next h, both sums and their exponent."""
    write, keep, m = _exponential_gates(a[0] + b[0], a[1] + b[1], m)
    c, n = keep * c + write * _tanh(a[2] + b[2]), keep * n + write
    return tl.sigmoid(a[3] + b[3]) * c / n, c, n, m


@triton.jit
@no_type_check
def slstm_gradients(a, b, now, before, m, dh, dc, dn):
    """Return the gradients of `a`, which are those of `b`, and of the previous sums.

    m is the previous exponent; it cancels.
    """
    f, z, o = a[1] + b[1], _tanh(a[2] + b[2]), tl.sigmoid(a[3] + b[3])
    write, keep, _ = _exponential_gates(a[0] + b[0], f, m)
    n = tl.where(now[1] > 0, now[1], 1.0)  # 0 before the first position
    read = now[0] / n
    dc += dh * o / n
    dn -= dh * o * read / n
    df = (dc * before[0] + dn * before[1]) * keep * tl.sigmoid(-f)
    by_gates = ((dc * z + dn) * write, df, dc * write * (1 - z * z), dh * read * o * (1 - o))
    return by_gates, dc * keep, dn * keep


@triton.jit
@no_type_check
def _exponential_gates(i, f, m):
    """Return the factors on the new input and on the old sums, and the new largest exponent."""
    log_f = tl.minimum(f, 0.0) - tl.log(1 + tl.exp(-tl.abs(f)))
    after = tl.maximum(log_f + m, i)
    return tl.exp(i - after), tl.exp(log_f + m - after), after


@triton.jit
@no_type_check
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1
