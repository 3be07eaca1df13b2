"""Softmax attention, the baseline for recall (Vaswani et al., 2017, arXiv 1706.03762).

    q, k, v = x W_Q, x W_K, x W_V                            in every head, optionally convolved
    a_ts = softmax over s <= t of q_t . k_s / sqrt(d_k)      or over t - window < s <= t
    y_t = (sum over s of a_ts v_s) W_O

Attention alone ignores the order of tokens; the recipe adds positions.
"""

from __future__ import annotations

from typing import Any

from einops import rearrange, repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.canon import Canon
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.short_conv import ShortConv
from recollect.ops.attention import (
    attention,
    attention_at,
    attention_step,
    attention_weights,
)
from recollect.ops.rotary import rotary, rotary_step


class Attend(nn.Module):
    """The attention of all heads: a named module without parameters, for hooks to observe.

    A forward hook sees queries, keys and values. `weights` computes from them the attention weights
    that the fused kernel never stores.

    Args:
        window: number of positions that each one sees, including itself; None: all up to itself.
        dropout: dropout on the attention weights in training.
    """

    def __init__(self, window: int | None, dropout: float) -> None:
        super().__init__()
        self.window, self.dropout = window, dropout

    def forward(
        self,
        q: Float[Tensor, "batch heads L_or_Q head_dim"],
        k: Float[Tensor, "batch heads L head_dim"],
        v: Float[Tensor, "batch heads L head_dim"],
        positions: Int64[Tensor, "batch heads Q"] | None = None,
    ) -> Float[Tensor, "batch heads L_or_Q head_dim"]:
        """Return the output of each head, at `positions` (then q holds their queries) or at all."""
        dropout = self.dropout if self.training else 0.0
        if positions is None:
            return attention(q, k, v, window=self.window, dropout=dropout)
        return attention_at(q, k, v, positions, window=self.window, dropout=dropout)

    def weights(
        self,
        q: Float[Tensor, "batch heads L head_dim"],
        k: Float[Tensor, "batch heads L head_dim"],
    ) -> Float[Tensor, "batch heads L L"]:
        """Return the attention weights of each head, without dropout."""
        return attention_weights(q, k, window=self.window)


@register_mixer(
    "attention", family="attention", title="Attention", paper="1706.03762", year=2017, look=0
)
class Attention(nn.Module):
    """Causal multi-head attention.

    Args:
        d_model: width.
        rope: whether queries and keys are rotated by position (`ops.rotary`).
        qkv_canon: whether a Canon layer follows the query, key and value maps (`mixers.canon`).
        n_heads: number of heads; papers on recall use one.
        qkv_conv: width of a short convolution on queries, keys and values; 0: none.
        window: number of positions that each one sees, including itself; None: all up to itself.
        dropout: dropout on the attention weights in training.
        bias: whether the linear maps have biases.

    Raises:
        UserError: if n_heads does not divide d_model, the width of a rotated head is odd, window is
            below 1, or dropout is outside of [0, 1).
    """

    wants_positions = True

    def __init__(
        self,
        d_model: int,
        *,
        rope: bool = False,
        qkv_canon: bool = False,
        n_heads: int = 1,
        qkv_conv: int = 0,
        window: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        head_width(d_model, n_heads, rotated=rope)
        if window is not None and window < 1:
            raise UserError(f"window={window}: expected at least 1, or None for no window")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout}: expected at least 0 and less than 1")
        self.n_heads, self.window, self.rope = n_heads, window, rope
        self.qkv_proj = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.qkv_canon = Canon(3 * d_model) if qkv_canon else None
        self.qkv_conv = ShortConv(3 * d_model, qkv_conv) if qkv_conv else None
        self.attend = Attend(window, dropout)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch L d_model"],
        output_positions: Int64[Tensor, "batch Q"] | None = None,
    ) -> Float[Tensor, "batch L_or_Q d_model"]:
        """Return the output at every position, or at `output_positions` only."""
        qkv = self.qkv_proj(x)
        if self.qkv_canon is not None:
            qkv = self.qkv_canon(qkv)
        if self.qkv_conv is not None:
            qkv = self.qkv_conv(qkv)
        # split before the heads, so that one copy joins the gradients
        q, k, v = (rearrange(m, "b l (h d) -> b h l d", h=self.n_heads) for m in qkv.chunk(3, -1))
        if self.rope:
            q, k = rotary(q), rotary(k)
        if output_positions is None:
            y = self.attend(q, k, v)
        else:
            places = repeat(output_positions, "b q -> b h q", h=self.n_heads)
            y = self.attend(q.take_along_dim(places[..., None], dim=-2), k, v, places)
        return self.out_proj(rearrange(y, "b h l d -> b l (h d)"))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no keys and values, position 0."""
        weight = self.out_proj.weight
        none_yet = weight.new_zeros(batch_size, self.n_heads, 0, weight.shape[0] // self.n_heads)
        state: dict[str, Any] = {"position": 0, "keys": none_yet, "values": none_yet}
        if self.qkv_conv is not None:
            state["qkv_conv"] = self.qkv_conv.initial_state(batch_size)
        if self.qkv_canon is not None:
            state["qkv_canon"] = self.qkv_canon.initial_state(batch_size)
        return state

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: the keys and values that later tokens see."""
        position = state["position"]
        new: dict[str, Any] = {"position": position + 1}
        qkv = self.qkv_proj(x_t)
        if self.qkv_canon is not None:
            qkv, new["qkv_canon"] = self.qkv_canon.step(qkv, state["qkv_canon"])
        if self.qkv_conv is not None:
            qkv, new["qkv_conv"] = self.qkv_conv.step(qkv, state["qkv_conv"])
        q_t, k_t, v_t = rearrange(qkv, "b (qkv h d) -> qkv b h d", qkv=3, h=self.n_heads)
        if self.rope:
            q_t, k_t = rotary_step(q_t, position), rotary_step(k_t, position)
        y_t, new["keys"], new["values"] = attention_step(
            q_t, k_t, v_t, state["keys"], state["values"], window=self.window
        )
        return self.out_proj(rearrange(y_t, "b h d -> b (h d)")), new
