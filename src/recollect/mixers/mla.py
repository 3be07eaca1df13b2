"""Multi-head latent attention, MLA (DeepSeek-AI, 2024, arXiv 2405.04434, section 2.1).

    c = RMSNorm(x W_DKV),   k^C, v = c W_UK, c W_UV in every head         (eq. 9-11)
    k^R = rotated x W_KR, shared by all heads                             (eq. 15)
    q^C, q^R = x W_Q in every head, q^R rotated; optionally W_Q has a low rank with a norm inside
    y = attention of [q^C, q^R] to [k^C, k^R] and v, times W_O            (eq. 16-19)

Kimi Linear (arXiv 2510.26692) has k^R and q^R, but does not rotate them.

The state holds only c and k^R. A step does not form keys and values: it applies W_UK to the query,
and W_UV after the weighted sum.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.ops.attention import attention
from recollect.ops.rotary import rotary, rotary_step


@register_mixer("mla", family="attention", title="MLA", paper="2405.04434", year=2024, look=32)
class MultiHeadLatentAttention(nn.Module):
    """Attention with keys and values computed from one short vector per position.

    Args:
        d_model: width.
        n_heads: number of heads.
        kv_rank: width of c; None: four times the width of a head, as published. With the default
            n_heads that is d_model, so c is not narrower than the input: for compression, give a
            rank such as d_model / 4.
        rope_dim: width of the key that the heads share and of its part of the queries, an even
            number; None: half of the width of a head, as published; 0: none.
        q_rank: rank of the map to queries; None: full, as in the authors' small model.
        rotated: whether the shared key and its part of the queries are rotated by position; False:
            no positions, as in Kimi Linear.

    Raises:
        UserError: if n_heads does not divide d_model, rope_dim is odd or negative, or a rank is
            below 1.
    """

    later_options = ("rotated",)

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 4,
        kv_rank: int | None = None,
        rope_dim: int | None = None,
        q_rank: int | None = None,
        rotated: bool = True,
    ) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        kv_rank = 4 * head if kv_rank is None else kv_rank
        rope_dim = head // 4 * 2 if rope_dim is None else rope_dim
        if rope_dim < 0 or rope_dim % 2:
            raise UserError(f"rope_dim={rope_dim}: expected an even number, at least 0")
        for name, rank in (("kv_rank", kv_rank), ("q_rank", q_rank)):
            if rank is not None and rank < 1:
                raise UserError(f"{name}={rank}: expected at least 1, or None")
        self.n_heads, self.rope_dim, self.rotated = n_heads, rope_dim, rotated
        width = n_heads * (head + rope_dim)
        self.q_proj: nn.Module = nn.Linear(d_model, width, bias=False)
        if q_rank is not None:
            self.q_proj = nn.Sequential(
                nn.Linear(d_model, q_rank, bias=False),
                RMSNorm(q_rank, eps=1e-6),
                nn.Linear(q_rank, width, bias=False),
            )
        self.kv_down = nn.Linear(d_model, kv_rank + rope_dim, bias=False)
        self.kv_norm = RMSNorm(kv_rank, eps=1e-6)
        self.k_up = nn.Linear(kv_rank, d_model, bias=False)
        self.v_up = nn.Linear(kv_rank, d_model, bias=False)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        q, q_rope = self._queries(x)
        latent, k_rope = self._latent(x)
        k, v = (
            rearrange(up(latent), "b l (h d) -> b h l d", h=self.n_heads)
            for up in (self.k_up, self.v_up)
        )
        q, q_rope = q.transpose(1, 2), q_rope.transpose(1, 2)
        if self.rope_dim:
            if self.rotated:
                q_rope, k_rope = rotary(q_rope), rotary(k_rope)
            of_all_heads = k_rope[:, None].expand(-1, self.n_heads, -1, -1)
            q, k = torch.cat([q, q_rope], -1), torch.cat([k, of_all_heads], -1)
        return self.out_proj(rearrange(attention(q, k, v), "b h l d -> b l (h d)"))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: empty, position 0."""
        weight = self.kv_norm.weight
        return {
            "position": 0,
            "latent": weight.new_zeros(batch_size, 0, weight.numel()),
            "rope_keys": weight.new_zeros(batch_size, 0, self.rope_dim),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: c and the shared keys of all tokens so far."""
        position = state["position"]
        q_t, q_rope_t = self._queries(x_t)
        latent_t, k_rope_t = self._latent(x_t)
        if self.rope_dim and self.rotated:
            q_rope_t, k_rope_t = rotary_step(q_rope_t, position), rotary_step(k_rope_t, position)
        latent = torch.cat([state["latent"], latent_t[:, None]], dim=1)
        rope_keys = torch.cat([state["rope_keys"], k_rope_t[:, None]], dim=1)
        k_up, v_up = (
            rearrange(up.weight, "(h d) rank -> h d rank", h=self.n_heads)
            for up in (self.k_up, self.v_up)
        )
        reads = einsum(q_t, k_up, "b h d, h d rank -> b h rank")
        scores = reads @ latent.mT + q_rope_t @ rope_keys.mT
        weights = (scores / math.sqrt(q_t.shape[-1] + self.rope_dim)).softmax(-1)
        y_t = einsum(weights @ latent, v_up, "b h rank, h d rank -> b h d")
        new = {"position": position + 1, "latent": latent, "rope_keys": rope_keys}
        return self.out_proj(y_t.flatten(1)), new

    def _queries(self, x: Float[Tensor, "... d_model"]) -> tuple[Tensor, Tensor]:
        """The two parts of the queries before rotation, each (..., n_heads, width)."""
        q = rearrange(self.q_proj(x), "... (h d) -> ... h d", h=self.n_heads)
        return q[..., : q.shape[-1] - self.rope_dim], q[..., q.shape[-1] - self.rope_dim :]

    def _latent(self, x: Float[Tensor, "... d_model"]) -> tuple[Tensor, Tensor]:
        """c, and the key shared by all heads before rotation."""
        down = self.kv_down(x)
        rank = down.shape[-1] - self.rope_dim
        return self.kv_norm(down[..., :rank]), down[..., rank:]


class RMSNorm(nn.RMSNorm):
    """An RMS norm in the precision of its weights, also under autocast."""

    def forward(self, x: Float[Tensor, "... rank"]) -> Float[Tensor, "... rank"]:
        """Return each vector divided by its root mean square, times the weights."""
        return super().forward(x.to(self.weight.dtype))
