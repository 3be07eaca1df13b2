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


def inner_head_width(d_model: int, expand: int, head_dim: int | None) -> int:
    """Return the width of each head of a Mamba whose heads share expand * d_model channels.

    Args:
        d_model: the width of the model.
        expand: the width of all heads together, in multiples of d_model.
        head_dim: the width of a head; None: 64, or that of all heads together if it is less.

    Raises:
        UserError: if head_dim does not divide the width of all heads together.
    """
    d_inner = expand * d_model
    head_dim = min(64, d_inner) if head_dim is None else head_dim
    if head_dim < 1 or d_inner % head_dim:
        raise UserError(
            f"head_dim={head_dim}: expected a divisor of {d_inner},"
            f" which is expand={expand} times d_model={d_model}"
        )
    return head_dim
