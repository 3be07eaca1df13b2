"""RetNet's multi-scale retention (Sun et al., 2023, arXiv 2307.08621).

    q, k = x W_Q, x W_K, rotated by position;   v = x W_V
    S_t = γ S_{t-1} + k_t v_t^T / sqrt(d_k),   γ = 1 - 2^(-5 - h) in head h       (eq. 6, 8)
    y = (swish(x W_G) * norm(q S)) W_O                                            (eq. 8)

As in the authors' code, the norm divides each head's output by its root mean square (the paper
calls it GroupNorm), and the slowest pair of channels rotates by 1e-4 radians per position. The
other scalings in the paper are left out, since the norm undoes them. The maps before W_O start as
in that code; W_O, which starts larger there (Xavier), starts by the recipe.
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
from recollect.mixers.marks import keep_init
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_step
from recollect.ops.rotary import rotary, rotary_step


@register_mixer(
    "retnet",
    family="outer-product memory",
    title="RetNet",
    paper="2307.08621",
    year=2023,
    look=8,
    looks_back=False,
)
class RetNet(nn.Module):
    """Linear attention with a fixed decay, different in each head.

    Args:
        d_model: width.
        n_heads: number of heads.
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model.

    Raises:
        UserError: if the width of a head's keys is not an even integer, or expand_v is below 1.
    """

    def __init__(self, d_model: int, *, n_heads: int = 4, expand_v: int = 2) -> None:
        super().__init__()
        if n_heads < 1 or d_model % (2 * n_heads):
            raise UserError(
                f"n_heads={n_heads}: expected a divisor of d_model={d_model}"
                " that gives every head an even width, since channels rotate in pairs"
            )
        if expand_v < 1:
            raise UserError(f"expand_v={expand_v}: expected at least 1")
        self.n_heads, self.expand_v = n_heads, expand_v
        pairs = d_model // n_heads // 2
        self.rotary_base = 10_000.0 ** (pairs / max(pairs - 1, 1))  # slowest angle: 1e-4
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, expand_v * d_model, bias=False)
        self.g_proj = nn.Linear(d_model, expand_v * d_model, bias=False)
        self.out_proj = nn.Linear(expand_v * d_model, d_model, bias=False)
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.g_proj):
            nn.init.xavier_uniform_(projection.weight, gain=2**-2.5)
            keep_init(projection)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        q, k, v = (z.transpose(1, 2) for z in self._memory_inputs(x))
        q, k = rotary(q, base=self.rotary_base), rotary(k, base=self.rotary_base)
        y = outer_product_memory(q, k, v, self._log_decay(x)[:, None])
        return self._output(y.transpose(1, 2), x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros, position 0."""
        d_k = self.q_proj.weight.shape[0] // self.n_heads
        memory = self.q_proj.weight.new_zeros(batch_size, self.n_heads, d_k, self.expand_v * d_k)
        return {"position": 0, "memory": memory}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: the matrix S and the position."""
        position = state["position"]
        q_t, k_t, v_t = self._memory_inputs(x_t)
        q_t, k_t = (rotary_step(z, position, base=self.rotary_base) for z in (q_t, k_t))
        y_t, memory = outer_product_memory_step(
            q_t, k_t, v_t, state["memory"], self._log_decay(x_t)
        )
        return self._output(y_t, x_t), {"position": position + 1, "memory": memory}

    def _memory_inputs(self, x: Float[Tensor, "... d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys before rotation, and values, each (..., n_heads, width)."""
        q, k, v = (
            rearrange(projection(x), "... (h d) -> ... h d", h=self.n_heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return q, k * k.shape[-1] ** -0.5, v

    def _log_decay(self, x: Tensor) -> Float[Tensor, "n_heads 1"]:
        """log γ, in the precision of `x`."""
        heads = torch.arange(self.n_heads, dtype=x.dtype, device=x.device)
        return torch.log1p(-torch.exp2(-5 - heads))[:, None]

    def _output(
        self, y: Float[Tensor, "... n_heads d_v"], x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        y = F.rms_norm(y, y.shape[-1:], eps=1e-6).flatten(-2)
        return self.out_proj(F.silu(self.g_proj(x)) * y)
