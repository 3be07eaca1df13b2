"""PaTH attention: input-dependent position encoding (Yang et al., 2025, arXiv 2505.16381).

    q, k, v = x W_Q, x W_K, x W_V
    w = SiLU(short convolution(x W_1 W_2)), of unit length in every head;   β = 2 sigmoid(x W_β + b)
    a_ts = softmax over s <= t of q_t' H_t ... H_{s+1} k_s / sqrt(d_k),   H_j = I - β_j w_j w_j'
    y_t = (sum over s of a_ts v_s) W_O

A step updates all keys in the state.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import of_length_1
from recollect.mixers.heads import head_width
from recollect.mixers.short_conv import ShortConv
from recollect.ops.path_attention import path_attention, path_attention_step

RANK, CONV = 32, 3
"""Rank of the map to w, and width of the convolution after it, as published."""


@register_mixer("path", family="attention", title="PaTH", paper="2505.16381", year=2025, look=35)
class PaTHAttention(nn.Module):
    """Causal softmax attention with an input-dependent position encoding.

    Args:
        d_model: width.
        n_heads: number of heads.

    Raises:
        UserError: if n_heads does not divide d_model.
    """

    def __init__(self, d_model: int, *, n_heads: int = 2) -> None:
        super().__init__()
        head_width(d_model, n_heads)
        self.n_heads = n_heads
        self.qkv_proj = nn.Linear(d_model, 3 * d_model, bias=False)
        self.w_proj = nn.Sequential(
            nn.Linear(d_model, RANK, bias=False), nn.Linear(RANK, d_model, bias=False)
        )
        self.w_conv = ShortConv(d_model, CONV, bias=False)
        self.beta_proj = nn.Linear(d_model, n_heads)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        inputs = self._attention_inputs(x, self.w_conv(self.w_proj(x)))
        y = path_attention(*(z.transpose(1, 2) for z in inputs))
        return self.out_proj(rearrange(y, "b h l d -> b l (h d)"))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no keys and values."""
        weight = self.out_proj.weight
        none_yet = weight.new_zeros(batch_size, self.n_heads, 0, weight.shape[0] // self.n_heads)
        conv = self.w_conv.initial_state(batch_size)
        return {"keys": none_yet, "values": none_yet, "w_conv": conv}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: keys, values, and the convolution's inputs."""
        w_t, conv = self.w_conv.step(self.w_proj(x_t), state["w_conv"])
        y_t, keys, values = path_attention_step(
            *self._attention_inputs(x_t, w_t), state["keys"], state["values"]
        )
        return self.out_proj(y_t.flatten(1)), {"keys": keys, "values": values, "w_conv": conv}

    def _attention_inputs(
        self, x: Float[Tensor, "... d_model"], w: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values and directions (..., n_heads, head), and β (..., n_heads)."""
        q, k, v, w = (
            rearrange(z, "... (h d) -> ... h d", h=self.n_heads)
            for z in (*self.qkv_proj(x).chunk(3, dim=-1), F.silu(w))
        )
        return q, k, v, of_length_1(w), 2 * self.beta_proj(x).sigmoid()
