"""Causal softmax attention (Vaswani et al., 2017, arXiv 1706.03762, eq. 1), full or windowed.

    y_t = sum over s of a_ts v_s,   a_t = softmax over s of q_t . k_s / sqrt(head_dim),
    with s <= t and, for a sliding window, t - window < s

Dimensions: L length, t position of the query, s position of the key. Heads are among the leading
dimensions, all of which broadcast.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recollect.ops.attention_kernel import kernel
from recollect.ops.cost import declares, rows
from recollect.ops.dropout import dropout as dropped
from recollect.ops.shapes import broadcast_shapes

BLOCKS_FROM = 8
"""Sequences of at least this many windows are computed block by block (on one CPU core, forward
and backward, this takes 1.2 times the time of a full mask at 4 windows, 0.4 at 8, 0.25 at 16)."""

HEADS_AT_ONCE = 65_535
"""The most heads in one call of a GPU kernel."""


def attention_definition(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    *,
    window: int | None = None,
) -> Float[Tensor, "... L value_dim"]:
    """Compute the weighted sum of the values as in the equation."""
    return torch.einsum("...ts,...sd->...td", attention_weights(q, k, window=window), v)


def attention_weights(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    *,
    window: int | None = None,
) -> Float[Tensor, "... L L"]:
    """The weights a_ts: the softmax of the masked scores."""
    length, head_dim = q.shape[-2:]
    scores = torch.einsum("...td,...sd->...ts", q, k) / math.sqrt(head_dim)
    hidden = ~_visible(length, window, q.device)
    return scores.masked_fill(hidden, -math.inf).softmax(-1)


@declares(
    lambda q, k, v, window: (
        rows(q, k, v)
        * attention_multiply_adds(
            torch.arange(q.shape[-2]), q.shape[-1], v.shape[-1], window=window
        )
    ),
    half=True,
)
def attention(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    *,
    window: int | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "... L value_dim"]:
    """Compute attention with PyTorch's fused kernel, which never stores the weights.

    Args:
        q: queries.
        k: keys.
        v: values.
        window: the number of positions that a position sees, including itself; None: all up to
            itself.
        dropout: fraction of the attention weights dropped at random.
    """
    length = q.shape[-2]
    if window is not None and length >= BLOCKS_FROM * window:
        return _by_blocks(q, k, v, window, dropout)
    # the kernel has causality built in, and a mask costs time
    mask = None if window is None else _visible(length, window, q.device)
    return _fused(q, k, v, mask, dropout)


@declares(
    lambda q, k, v, positions, window: attention_multiply_adds(
        _places(q, k, v, positions), q.shape[-1], v.shape[-1], window=window
    ),
    half=True,
)
def attention_at(
    q: Float[Tensor, "... Q head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    positions: Int64[Tensor, "... Q"],
    *,
    window: int | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "... Q value_dim"]:
    """Compute attention at some positions only.

    Args:
        q: queries at these positions.
        k: keys of all positions.
        v: values of all positions.
        positions: the positions of the queries.
        window: as in `attention`.
        dropout: as in `attention`.
    """
    distance = _places(q, k, v, positions)[..., None] - torch.arange(k.shape[-2], device=k.device)
    visible = distance >= 0
    if window is not None:
        visible = visible & (distance < window)
    return _fused(q, k, v, visible, dropout)


def attention_where(
    q: Float[Tensor, "... t head_dim"],
    k: Float[Tensor, "... s head_dim"],
    v: Float[Tensor, "... s value_dim"],
    visible: Bool[Tensor, "... t s"],
) -> Float[Tensor, "... t value_dim"]:
    """Compute attention with any mask: position t sees s where `visible` is True, at least one."""
    return _fused(q, k, v, visible, 0.0)


def attention_step(
    q_t: Float[Tensor, "... head_dim"],
    k_t: Float[Tensor, "... head_dim"],
    v_t: Float[Tensor, "... value_dim"],
    keys: Float[Tensor, "... n head_dim"],
    values: Float[Tensor, "... n value_dim"],
    *,
    window: int | None = None,
) -> tuple[
    Float[Tensor, "... value_dim"],
    Float[Tensor, "... m head_dim"],
    Float[Tensor, "... m value_dim"],
]:
    """Return one output, and the keys and values for the next step.

    Without a window all keys and values are kept, with one the last window - 1.

    Args:
        q_t: the query.
        k_t: the key of the same position.
        v_t: the value of the same position.
        keys: earlier keys, as returned by the previous step; n = 0 at the start of a sequence.
        values: earlier values, as returned by the previous step.
        window: as in `attention`.
    """
    keys = torch.cat([keys, k_t[..., None, :]], dim=-2)
    values = torch.cat([values, v_t[..., None, :]], dim=-2)
    scores = torch.einsum("...d,...sd->...s", q_t, keys) / math.sqrt(q_t.shape[-1])
    y_t = torch.einsum("...s,...sd->...d", scores.softmax(-1), values)
    if keys.shape[-2] == window:  # a view would keep the dropped ones alive
        keys, values = keys[..., 1:, :].clone(), values[..., 1:, :].clone()
    return y_t, keys, values


def attention_multiply_adds(
    positions: Int64[Tensor, "... Q"],
    head_dim: int,
    value_dim: int,
    *,
    window: int | None = None,
) -> int:
    """Multiply-adds of the queries at `positions`: their scores and their weighted sums."""
    seen = positions + 1
    if window is not None:
        seen = seen.clamp(max=window)
    return int(seen.sum()) * (head_dim + value_dim)


def _leading(q: Tensor, k: Tensor, v: Tensor) -> torch.Size:
    """The broadcast leading dimensions."""
    return broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])


def _places(
    q: Tensor, k: Tensor, v: Tensor, positions: Int64[Tensor, "... Q"]
) -> Int64[Tensor, "... Q"]:
    """The positions of the queries, broadcast to all leading dimensions."""
    return positions.expand(*_leading(q, k, v), -1)


def _by_blocks(
    q: Float[Tensor, "... L head_dim"],
    k: Float[Tensor, "... L head_dim"],
    v: Float[Tensor, "... L value_dim"],
    window: int,
    dropout: float,
) -> Float[Tensor, "... L value_dim"]:
    """Attend from each block of `window` queries to the keys of its own and the previous block."""
    length = q.shape[-2]
    blocks = -(-length // window)
    fill = blocks * window - length

    def own(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, fill)).unflatten(-2, (blocks, window))

    def before_and_own(x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, window, fill)).unflatten(-2, (blocks + 1, window))
        return torch.cat([x[..., :-1, :, :], x[..., 1:, :, :]], dim=-2)

    mask = _visible(2 * window, window, q.device)[window:].repeat(blocks, 1, 1)
    mask[0, :, :window] = False  # no block precedes the first one
    y = _fused(own(q), before_and_own(k), before_and_own(v), mask, dropout)
    return y.flatten(-3, -2)[..., :length, :]


def _fused(
    q: Float[Tensor, "... t head_dim"],
    k: Float[Tensor, "... s head_dim"],
    v: Float[Tensor, "... s value_dim"],
    mask: Bool[Tensor, "... t s"] | None,
    dropout: float,
) -> Float[Tensor, "... t value_dim"]:
    """Call PyTorch's kernel, causal if there is no mask."""
    leading = _leading(q, k, v)
    if dropout:
        return _with_dropout(q, k, v, mask, dropout)
    if mask is not None and mask.ndim - 2 < len(leading) and q.device.type != "cpu":
        return _with_shared_masks(q, k, v, mask)
    heads = leading[-1] if leading else 1

    def four_dims(x: Tensor) -> Tensor:  # the fused kernels require four
        return x.expand(*leading, *x.shape[-2:]).reshape(-1, heads, *x.shape[-2:])

    q, k, v = four_dims(q), four_dims(k), four_dims(v)
    if mask is not None and mask.ndim > 4:
        mask = four_dims(mask)
    y = kernel(q, k, v, mask)
    return y.view(*leading, *y.shape[-2:])


def _with_shared_masks(
    q: Float[Tensor, "... t head_dim"],
    k: Float[Tensor, "... s head_dim"],
    v: Float[Tensor, "... s value_dim"],
    mask: Bool[Tensor, "... t s"],
) -> Float[Tensor, "... t value_dim"]:
    """Call the kernel with one mask for many sequences.

    The sequences are stacked as heads, over which a GPU kernel repeats a mask without a copy.
    """
    leading = _leading(q, k, v)
    masks = math.prod(mask.shape[:-2])

    def side_by_side(x: Tensor) -> Tensor:
        x = x.expand(*leading, *x.shape[-2:])
        return x.reshape(-1, masks, *x.shape[-2:]).transpose(0, 1)

    own = mask.reshape(masks, 1, *mask.shape[-2:])
    q, k, v = side_by_side(q), side_by_side(k), side_by_side(v)
    if q.shape[1] <= HEADS_AT_ONCE:
        y = kernel(q, k, v, own)
    else:
        parts = zip(*(x.split(HEADS_AT_ONCE, dim=1) for x in (q, k, v)), strict=True)
        y = torch.cat([kernel(*qkv, own) for qkv in parts], dim=1)  # type: ignore[call-arg]
    return y.transpose(0, 1).reshape(*leading, *y.shape[-2:])


def _with_dropout(
    q: Float[Tensor, "... t head_dim"],
    k: Float[Tensor, "... s head_dim"],
    v: Float[Tensor, "... s value_dim"],
    mask: Bool[Tensor, "... t s"] | None,
    p: float,
) -> Float[Tensor, "... t value_dim"]:
    """Compute the equation directly: no kernel accepts a dropout mask for the weights."""
    visible = _visible(q.shape[-2], None, q.device) if mask is None else mask
    scores = torch.einsum("...td,...sd->...ts", q, k) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
    return torch.einsum("...ts,...sd->...td", dropped(weights, p), v)


def _visible(length: int, window: int | None, device: torch.device) -> Bool[Tensor, "t s"]:
    """The mask that is True where position t sees position s."""
    visible = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return visible if window is None else visible.triu(1 - window)
