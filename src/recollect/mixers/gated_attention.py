"""Attention with an output gate, as in Qwen3-Next (Qiu et al., 2025, arXiv 2505.06708).

    q, k = RMSNorm of every head(x W_Q, x W_K), a quarter of their channels rotated;   v = x W_V
    y = (attention(q, k, v) * sigmoid(x W_G)) W_O

The gate can silence a head that finds nothing to attend to.

In Qwen3-Next eight query heads share a key and a value. Its norms multiply by 1 + weight, and
weights start at zero, so weight decay pulls towards the plain norm; here they multiply by the
weight, which starts at 1.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.ops.attention import attention, attention_step
from recollect.ops.rotary import rotary


@register_mixer(
    "gated-attention",
    family="attention",
    title="Gated attention",
    paper="2505.06708",
    year=2025,
    look=34,
)
class GatedAttention(nn.Module):
    """Causal softmax attention with a gate, computed from the input, on each output channel.

    Args:
        d_model: width.
        n_heads: number of heads.
        rotated: fraction of each head's channels that is rotated by position, in pairs; 0: none.

    Raises:
        UserError: if n_heads does not divide d_model, or rotated is outside of [0, 1].
    """

    def __init__(self, d_model: int, *, n_heads: int = 2, rotated: float = 0.25) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        if not 0 <= rotated <= 1:
            raise UserError(f"rotated={rotated}: expected a fraction from 0 to 1")
        self.n_heads, self.rope_dim = n_heads, int(rotated * head) // 2 * 2
        self.qkv_proj = nn.Linear(d_model, 3 * d_model, bias=False)
        self.g_proj = nn.Linear(d_model, d_model, bias=False)
        self.q_norm = nn.Parameter(torch.ones(head))
        self.k_norm = nn.Parameter(torch.ones(head))
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        q, k, v = (z.transpose(1, 2) for z in self._heads(x))
        y = attention(self._turned(q, 0), self._turned(k, 0), v).transpose(1, 2)
        return self._output(y, x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no keys and values, position 0."""
        none_yet = self.q_norm.new_zeros(batch_size, self.n_heads, 0, self.q_norm.numel())
        return {"position": 0, "keys": none_yet, "values": none_yet}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: the keys and values that later tokens see."""
        position = state["position"]
        q_t, k_t, v_t = self._heads(x_t)
        q_t, k_t = (self._turned(z[..., None, :], position).squeeze(-2) for z in (q_t, k_t))
        y_t, keys, values = attention_step(q_t, k_t, v_t, state["keys"], state["values"])
        new = {"position": position + 1, "keys": keys, "values": values}
        return self._output(y_t, x_t), new

    def _heads(self, x: Float[Tensor, "... d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """Normed queries and keys before rotation, and values, each (..., n_heads, head)."""
        q, k, v = (
            rearrange(z, "... (h d) -> ... h d", h=self.n_heads)
            for z in self.qkv_proj(x).chunk(3, dim=-1)
        )
        q, k = (
            F.rms_norm(z, z.shape[-1:], eps=1e-6) * weight
            for z, weight in ((q, self.q_norm), (k, self.k_norm))
        )
        return q, k, v.to(q.dtype)

    def _turned(self, z: Float[Tensor, "... L head"], offset: int) -> Float[Tensor, "... L head"]:
        turned, rest = z[..., : self.rope_dim], z[..., self.rope_dim :]
        return torch.cat([rotary(turned, offset=offset), rest], dim=-1) if self.rope_dim else z

    def _output(
        self, y: Float[Tensor, "... n_heads head"], x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        return self.out_proj(y.flatten(-2) * self.g_proj(x).sigmoid())
