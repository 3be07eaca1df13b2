"""Forgetting attention, the mixer of the Forgetting Transformer (Lin et al., 2025, 2503.02130).

    q, k, v = x W_Q, x W_K, x W_V,   f = sigmoid(x W_f + b_f), one gate per head
    a_ts = softmax over s <= t of q_t . k_s / sqrt(d_k) + log f_{s+1} + ... + log f_t
    y_t = (sum over s of a_ts v_s) W_O

The gates encode distance, so there is no other position encoding. This is the paper's plain block
("FoX (LLaMA)"), not the one with further gates and norms.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.ops.forgetting_attention import forgetting_attention, forgetting_attention_step


@register_mixer(
    "fox", family="attention", title="FoX", paper="2503.02130", year=2025, look=31, looks_back=False
)
class ForgettingAttention(nn.Module):
    """Causal softmax attention with a forget gate.

    Args:
        d_model: width.
        n_heads: number of heads, each with its own gate.

    Raises:
        UserError: if n_heads does not divide d_model.
    """

    def __init__(self, d_model: int, *, n_heads: int = 2) -> None:
        super().__init__()
        head_width(d_model, n_heads)
        self.n_heads = n_heads
        self.qkv_proj = nn.Linear(d_model, 3 * d_model, bias=False)
        self.f_proj = nn.Linear(d_model, n_heads)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        q, k, v = rearrange(self.qkv_proj(x), "b l (n h d) -> n b h l d", n=3, h=self.n_heads)
        log_forget = F.logsigmoid(self.f_proj(x)).transpose(1, 2)
        y = forgetting_attention(q, k, v, log_forget)
        return self.out_proj(rearrange(y, "b h l d -> b l (h d)"))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no keys and values."""
        weight = self.out_proj.weight
        none_yet = weight.new_zeros(batch_size, self.n_heads, 0, weight.shape[0] // self.n_heads)
        decays = weight.new_zeros(batch_size, self.n_heads, 0)
        return {"keys": none_yet, "values": none_yet, "decays": decays}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: keys, values, and the log decay of each."""
        q_t, k_t, v_t = rearrange(self.qkv_proj(x_t), "b (n h d) -> n b h d", n=3, h=self.n_heads)
        y_t, keys, values, decays = forgetting_attention_step(
            q_t,
            k_t,
            v_t,
            F.logsigmoid(self.f_proj(x_t)),
            state["keys"],
            state["values"],
            state["decays"],
        )
        new = {"keys": keys, "values": values, "decays": decays}
        return self.out_proj(y_t.flatten(1)), new
