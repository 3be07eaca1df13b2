"""The width of a head."""

from __future__ import annotations

from recollect.errors import UserError


def head_width(d_model: int, n_heads: int) -> int:
    """Return the width of each head, d_model / n_heads.

    Raises:
        UserError: if n_heads does not divide d_model.
    """
    if n_heads < 1 or d_model % n_heads:
        raise UserError(f"n_heads={n_heads}: expected a divisor of d_model={d_model}")
    return d_model // n_heads
