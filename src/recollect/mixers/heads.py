"""What mixers with heads share."""

from __future__ import annotations

from recollect.errors import UserError


def head_width(d_model: int, n_heads: int, *, rotated: bool = False) -> int:
    """The width of each of the heads that share `d_model`.

    Args:
        d_model: the width of all heads together.
        n_heads: number of heads.
        rotated: whether queries and keys are rotated, in pairs of channels.

    Raises:
        UserError: if they do not divide it, or a rotated head has an odd width.
    """
    if n_heads < 1 or d_model % n_heads:
        raise UserError(f"n_heads={n_heads}: expected a divisor of d_model={d_model}")
    head = d_model // n_heads
    if rotated and head % 2:
        raise UserError(
            f"a head of width {head}: rotation needs an even one;"
            " change d_model or n_heads, or use no rotation where there is a choice"
        )
    return head
