"""Reading and writing a position of tensors (rows, L, columns) in Triton kernels.

Rows are 64-bit, since a population's tensors may have more than 2^31 numbers.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def at(tensor, row, t, column, length, columns):
    """What a row holds at a position; 0 where there is no such position or column."""
    there = (t >= 0) & (t < length) & (column < columns)
    return tl.load(tensor + (row * length + t) * columns + column, there, other=0.0)


@triton.jit
@no_type_check
def put(tensor, value, row, t, column, length, columns):
    """Write it, where there is such a position and column."""
    there = (t >= 0) & (t < length) & (column < columns)
    tl.store(tensor + (row * length + t) * columns + column, value, there)
