"""The mixer of Hymba: attention and Mamba in parallel (Dong et al., 2024, arXiv 2411.13676).

    a = attention(x W_Q, x W_K, x W_V),   m = the gated output of Mamba's scan
    y = (RMSNorm(a) + RMSNorm(m)) / 2 W_O       eq. 3; the scales of the norms are its beta

Both branches read the same input and have the width of Mamba's scan. Mamba's dt, B and C each have
an RMS norm, as in the authors' code. Two parts of the model are not part of a mixer and are left
out: meta tokens, and keys and values shared by two layers.
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
from recollect.mixers.mamba import Mamba
from recollect.ops.attention import attention, attention_step
from recollect.ops.rotary import rotary, rotary_step


@register_mixer(
    "hymba", family="parallel heads", title="Hymba", paper="2411.13676", year=2024, look=44
)
class Hymba(nn.Module):
    """Attention and Mamba on the same input, normalised and averaged.

    Args:
        d_model: width.
        n_layers: depth of the model, for Mamba's initialisation.
        rope: whether queries and keys are rotated by position (`ops.rotary`).
        n_heads: number of attention heads.
        window: number of positions that each one sees, including itself; None: all up to itself, as
            in the first, middle and last layer of the authors' models (the others: 1,024).
        d_state: number of Mamba states per channel.
        d_conv: width of Mamba's convolution; 0: none.
        expand: width of both branches, in multiples of d_model.

    Raises:
        UserError: if n_heads does not divide d_model, the width of a rotated head is odd, or a size
            is out of range.
    """

    wants_positions = True
    numerics = 2

    def __init__(
        self,
        d_model: int,
        n_layers: int = 1,
        *,
        rope: bool = False,
        n_heads: int = 1,
        window: int | None = None,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
    ) -> None:
        super().__init__()
        head_width(d_model, n_heads, rotated=rope)
        if window is not None and window < 1:
            raise UserError(f"window={window}: expected at least 1, or None for no window")
        self.mamba = Mamba(
            d_model, n_layers, d_state=d_state, d_conv=d_conv, expand=expand, inner_norms=True
        )
        d_inner = expand * d_model
        self.n_heads, self.window, self.rope = n_heads, window, rope
        self.widths = [d_model, d_model, d_inner]
        self.qkv_proj = nn.Linear(d_model, sum(self.widths), bias=False)
        self.attention_scale = nn.Parameter(torch.ones(d_inner))
        self.mamba_scale = nn.Parameter(torch.ones(d_inner))

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        parts = self.qkv_proj(x).split(self.widths, dim=-1)
        q, k, v = (rearrange(m, "b l (h d) -> b h l d", h=self.n_heads) for m in parts)
        if self.rope:
            q, k = rotary(q), rotary(k)
        y = rearrange(attention(q, k, v, window=self.window), "b h l d -> b l (h d)")
        return self._together(y, self.mamba.channels(x))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no keys, no values, and Mamba's state."""

        def none_yet(width: int) -> Tensor:
            return self.qkv_proj.weight.new_zeros(batch_size, self.n_heads, 0, width)

        _, k, v = (width // self.n_heads for width in self.widths)
        return {
            "position": 0,
            "keys": none_yet(k),
            "values": none_yet(v),
            "mamba": self.mamba.initial_state(batch_size),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: keys and values for later tokens, and Mamba's."""
        position = state["position"]
        new: dict[str, Any] = {"position": position + 1}
        parts = self.qkv_proj(x_t).split(self.widths, dim=-1)
        q_t, k_t, v_t = (rearrange(m, "b (h d) -> b h d", h=self.n_heads) for m in parts)
        if self.rope:
            q_t, k_t = rotary_step(q_t, position), rotary_step(k_t, position)
        y_t, new["keys"], new["values"] = attention_step(
            q_t, k_t, v_t, state["keys"], state["values"], window=self.window
        )
        m_t, new["mamba"] = self.mamba.channels_step(x_t, state["mamba"])
        return self._together(rearrange(y_t, "b h d -> b (h d)"), m_t), new

    def _together(
        self, of_attention: Float[Tensor, "... d_inner"], of_mamba: Float[Tensor, "... d_inner"]
    ) -> Float[Tensor, "... d_model"]:
        width = of_mamba.shape[-1:]
        a = F.rms_norm(of_attention, width, eps=1e-6) * self.attention_scale
        m = F.rms_norm(of_mamba, width, eps=1e-6) * self.mamba_scale
        return self.mamba.out_proj((a + m) / 2)  # shared by both branches
