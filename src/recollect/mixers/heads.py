"""What mixers with heads share."""

from __future__ import annotations

from recollect.errors import UserError


def head_width(d_model: int, n_heads: int) -> int:
    """The width of each of the heads that share `d_model`.

    Raises:
        UserError: if they do not divide it.
    """
    if n_heads < 1 or d_model % n_heads:
        raise UserError(f"n_heads={n_heads}: expected a divisor of d_model={d_model}")
    return d_model // n_heads
