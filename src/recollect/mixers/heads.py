"""The width of a head."""

from __future__ import annotations

from recollect.errors import UserError


def head_width(d_model: int, n_heads: int, *, rotated: bool = False) -> int:
    """Return the width of each head, d_model / n_heads.

    Args:
        d_model: the width of all heads together.
        n_heads: number of heads.
        rotated: whether queries and keys are rotated, in pairs of channels.

    Raises:
        UserError: if n_heads does not divide d_model, or a rotated head has an odd width.
    """
    if n_heads < 1 or d_model % n_heads:
        raise UserError(f"n_heads={n_heads}: expected a divisor of d_model={d_model}")
    head = d_model // n_heads
    if rotated and head % 2:
        raise UserError(
            f"a head has width {head}: rotary positions need an even width;"
            " change d_model or n_heads, or use learned positions"
        )
    return head
