"""Load and store one position of tensors (rows, L, columns) in Triton kernels.

Row indices are 64-bit: the tensors of a population may have more than 2^31 elements.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def at(tensor, row, t, column, length, columns):
    """Load a row's values at a position; 0 outside the tensor."""
    there = (t >= 0) & (t < length) & (column < columns)
    return tl.load(tensor + (row * length + t) * columns + column, there, other=0.0)


@triton.jit
@no_type_check
def put(tensor, value, row, t, column, length, columns):
    """Store a row's values at a position; nothing outside the tensor."""
    there = (t >= 0) & (t < length) & (column < columns)
    tl.store(tensor + (row * length + t) * columns + column, value, there)
