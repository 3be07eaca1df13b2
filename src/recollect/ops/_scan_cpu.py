"""The selective scan on the CPU: fused forward and backward kernels.

Numba compiles them at first use and caches them on disk. In plain torch the scan is memory-bound:
every state of every position is written and read several times. Here a state stays in the
first-level cache. The forward pass keeps one state per chunk of positions; the backward pass
recomputes the others from it.

Dimensions and shapes as in `scan.py`. Channels come last throughout: the inner loops run along
them, and the compiler vectorises these loops. For that it must see that no index is negative, so
each index is a loop variable or the start of a slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, no_type_check

import numpy as np
import torch
from numba import config, njit, types
from numba.extending import overload
from torch import Tensor

from recollect.ops._scan_torch import saved as saved

CHUNK = 64
"""Positions from one kept state to the next."""
LANES = 128
"""Channels processed together; the data of a chunk of them fits the second-level cache."""

IS_COMPILED = not config.DISABLE_JIT  # type: ignore[attr-defined]
"""Whether numba compiles functions; `NUMBA_DISABLE_JIT=1` turns that off."""

LOG2_E = math.log2(math.e)
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def forward(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the final state, and the state at the start of each chunk."""
    rows, d_state, channels = state.shape
    y, final_state = torch.empty_like(x), state.clone()
    entering = x.new_empty(rows, -(-x.shape[1] // CHUNK), d_state, channels)
    _share_rows(scan_forward, x, delta, A, B, C, y, final_state, entering)
    return y, final_state, entering


def backward(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    entering: Tensor,
    dy: Tensor,
    dstate: Tensor,
) -> tuple[Tensor, ...]:
    """Return the gradients of all six inputs."""
    dx, ddelta, dstate = torch.empty_like(x), torch.empty_like(delta), dstate.clone()
    dA, dB, dC = (torch.zeros_like(tensor) for tensor in (A, B, C))
    _share_rows(scan_backward, x, delta, A, B, C, entering, dy, dx, ddelta, dA, dB, dC, dstate)
    return dx, ddelta, dA, dB, dC, dstate


def _share_rows(kernel: Callable[..., None], *tensors: Tensor) -> None:
    """Run the kernel on all rows, divided among as many threads as torch may use."""
    arrays = [tensor.detach().numpy() for tensor in tensors]
    rows = len(arrays[0])
    threads = max(1, min(torch.get_num_threads(), rows))
    if threads == 1:
        kernel(*arrays)
        return
    bounds = [rows * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # the kernels release the interpreter's lock
        parts = (slice(start, end) for start, end in pairwise(bounds))
        list(pool.map(lambda part: kernel(*(array[part] for array in arrays)), parts))


def _compiled(function: Kernel) -> Kernel:
    """Compile at the first call. Sums may be reordered: vectorised loops require it."""
    options: Any = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}}
    try:
        compiled: Kernel = njit(cache=True, **options)(function)
    except RuntimeError:  # no writable cache directory: every process compiles
        compiled = njit(**options)(function)
    return compiled


def exp2(z: float) -> float:
    """2^z in a kernel."""
    raise NotImplementedError  # compiled code calls one of the two functions below


@no_type_check  # a function with the shape checks of the tests around it does not compile
def _exp2_single(z):
    """2^z in a form that vectorises; relative error below 2e-7, never less than 2^-126."""
    z = LOWEST if z < LOWEST else z
    z = HIGHEST if z > HIGHEST else z
    shifted = z + SHIFT  # rounds z to an integer, stored in the lowest bits
    r = z - (shifted - SHIFT)
    mantissa = (((((P6 * r + P5) * r + P4) * r + P3) * r + P2) * r + P1) * r + ONE
    exponent = np.float32(shifted).view(np.int32) << 23
    return np.int32(np.float32(mantissa).view(np.int32) + exponent).view(np.float32)


@no_type_check
def _exp2_double(z):
    return np.exp2(z)


overload(exp2, jit_options={"fastmath": {"contract"}})(
    lambda z: _exp2_single if z == types.float32 else _exp2_double
)
ONE = np.float32(1)
LOWEST, HIGHEST = np.float32(-126), np.float32(127.99)
SHIFT = np.float32(1.5 * 2**23)
# minimax polynomial of 2^r on [-1/2, 1/2] with value 1 at 0; relative error 2e-9 before rounding
P1, P2, P3 = np.float32(0.69314720), np.float32(0.24022648), np.float32(0.055503325)
P4, P5, P6 = np.float32(0.0096184374), np.float32(0.0013398874), np.float32(0.00015353362)


@_compiled
@no_type_check
def scan_forward(x, delta, A, B, C, y, state, entering):
    """Fill y and entering (the state at the start of each chunk); turn state into the final one."""
    rows, length, channels = x.shape
    rate, u = np.empty(LANES, x.dtype), np.empty((CHUNK, LANES), x.dtype)
    for row in range(rows):
        for first in range(0, channels, LANES):
            width = min(LANES, channels - first)
            some = slice(first, first + width)
            for chunk in range(entering.shape[1]):
                start = chunk * CHUNK
                steps = min(CHUNK, length - start)
                for i in range(steps):
                    t = start + i
                    x_t, delta_t, y_t = x[row, t, some], delta[row, t, some], y[row, t, some]
                    for c in range(width):
                        u[i, c] = delta_t[c] * x_t[c]
                        y_t[c] = 0
                for n in range(A.shape[1]):
                    A_n, kept = A[row, n, some], entering[row, chunk, n, some]
                    h = state[row, n, some]
                    for c in range(width):
                        rate[c] = A_n[c] * LOG2_E
                        kept[c] = h[c]
                    for i in range(steps):
                        t = start + i
                        delta_t, y_t, u_t = delta[row, t, some], y[row, t, some], u[i]
                        B_tn, C_tn = B[row, t, n], C[row, t, n]
                        for c in range(width):
                            h_c = exp2(delta_t[c] * rate[c]) * h[c] + B_tn * u_t[c]
                            h[c] = h_c
                            y_t[c] += C_tn * h_c


@_compiled
@no_type_check
def scan_backward(x, delta, A, B, C, entering, dy, dx, ddelta, dA, dB, dC, dstate):
    """Fill dx and ddelta, add to dA, dB, dC, and turn dstate into the initial state's gradient.

    One nest of loops keeps a chunk of positions and channels in the cache.
    """
    rows, length, channels = x.shape
    rate, u = np.empty(LANES, x.dtype), np.empty((CHUNK, LANES), x.dtype)
    decay, h = np.empty((CHUNK, LANES), x.dtype), np.empty((CHUNK + 1, LANES), x.dtype)
    for row in range(rows):
        for first in range(0, channels, LANES):
            width = min(LANES, channels - first)
            some = slice(first, first + width)
            for chunk in range(entering.shape[1] - 1, -1, -1):
                start = chunk * CHUNK
                steps = min(CHUNK, length - start)
                for i in range(steps):
                    t = start + i
                    x_t, delta_t = x[row, t, some], delta[row, t, some]
                    dx_t, ddelta_t = dx[row, t, some], ddelta[row, t, some]
                    for c in range(width):
                        u[i, c] = delta_t[c] * x_t[c]
                        dx_t[c] = ddelta_t[c] = 0
                for n in range(A.shape[1]):
                    A_n, kept = A[row, n, some], entering[row, chunk, n, some]
                    dA_n, dh = dA[row, n, some], dstate[row, n, some]
                    for c in range(width):
                        rate[c] = A_n[c] * LOG2_E
                        h[0, c] = kept[c]
                    for i in range(steps):
                        t = start + i
                        u_t, decay_t, h_before, h_t = u[i], decay[i], h[i], h[i + 1]
                        delta_t, dy_t, B_tn = delta[row, t, some], dy[row, t, some], B[row, t, n]
                        total = x.dtype.type(0)
                        for c in range(width):
                            decay_t[c] = exp2(delta_t[c] * rate[c])
                            h_t[c] = decay_t[c] * h_before[c] + B_tn * u_t[c]
                            total += dy_t[c] * h_t[c]
                        dC[row, t, n] += total
                    for i in range(steps - 1, -1, -1):
                        t = start + i
                        u_t, decay_t, h_before = u[i], decay[i], h[i]
                        delta_t, dy_t = delta[row, t, some], dy[row, t, some]
                        du_t, ddelta_t = dx[row, t, some], ddelta[row, t, some]
                        B_tn, C_tn = B[row, t, n], C[row, t, n]
                        total = x.dtype.type(0)
                        for c in range(width):
                            dh_c = dh[c] + C_tn * dy_t[c]
                            total += dh_c * u_t[c]
                            du_t[c] += dh_c * B_tn
                            dh_c *= decay_t[c]
                            dh[c] = dh_c
                            dexponent = dh_c * h_before[c]
                            ddelta_t[c] += dexponent * A_n[c]
                            dA_n[c] += dexponent * delta_t[c]
                        dB[row, t, n] += total
                for i in range(steps):
                    t = start + i
                    x_t, delta_t = x[row, t, some], delta[row, t, some]
                    dx_t, ddelta_t = dx[row, t, some], ddelta[row, t, some]  # dx holds du here
                    for c in range(width):
                        ddelta_t[c] += dx_t[c] * x_t[c]
                        dx_t[c] *= delta_t[c]
