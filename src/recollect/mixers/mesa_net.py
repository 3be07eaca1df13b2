"""MesaNet's mixer: every token solves a ridge regression on the past (von Oswald et al., 2025,
arXiv 2506.05233).

    q, k = SiLU(short convolution(x W_q, x W_k)), of unit length in every head;   v = x W_v
    β = sigmoid(x W_b + c),   α = sigmoid(x W_a + c'),   λ = softplus(l) + 1/4 for each key channel
    G_t = α_t G_{t-1} + β_t k_t k_t',   S_t = α_t S_{t-1} + β_t k_t v_t'
    y = RMSNorm(S' (G + diag(λ))^-1 q) W_o

λ starts at 1, as in the authors' code.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import of_length_1
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.ops.mesa import mesa, mesa_step

LEAST_RIDGE = 0.25


@register_mixer(
    "mesa-net", family="delta rule", title="MesaNet", paper="2506.05233", year=2025, look=36
)
class MesaNet(nn.Module):
    """Linear attention read through the inverse covariance of its keys.

    Args:
        d_model: width.
        n_heads: number of heads; the cost grows with the cube of a head's width.
        qk_conv: width of the short convolution on queries and keys.

    Raises:
        UserError: if n_heads does not divide d_model, or qk_conv is below 1.
    """

    def __init__(self, d_model: int, *, n_heads: int = 4, qk_conv: int = 4) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        self.n_heads = n_heads
        self.qk_proj = nn.Linear(d_model, 2 * d_model, bias=False)
        self.qk_conv = ShortConv(2 * d_model, qk_conv, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.a_proj = nn.Linear(d_model, n_heads)
        self.b_proj = nn.Linear(d_model, n_heads)
        start = math.log(math.expm1(1 - LEAST_RIDGE))  # λ = softplus(start) + LEAST_RIDGE = 1
        self.ridge = nn.Parameter(torch.full((n_heads, head), start))
        keep_init(self.ridge)
        no_decay(self.ridge)
        self.norm = nn.RMSNorm(head, eps=1e-5)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        inputs = self._mesa_inputs(x, self.qk_conv(self.qk_proj(x)))
        q, k, v, beta, log_decay = (z.transpose(1, 2) for z in inputs)
        y = mesa(q, k, v, beta, log_decay, self._ridge())
        return self._output(y.transpose(1, 2))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros."""
        shape = (batch_size, self.n_heads, self.ridge.shape[1], self.ridge.shape[1])
        return {
            "gram": self.ridge.new_zeros(shape),
            "memory": self.ridge.new_zeros(shape),
            "qk_conv": self.qk_conv.initial_state(batch_size),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: G, S, and the last inputs of the convolution."""
        qk, conv = self.qk_conv.step(self.qk_proj(x_t), state["qk_conv"])
        y_t, gram, memory = mesa_step(
            *self._mesa_inputs(x_t, qk), self._ridge(), state["gram"], state["memory"]
        )
        return self._output(y_t), {"gram": gram, "memory": memory, "qk_conv": conv}

    def _ridge(self) -> Float[Tensor, "n_heads head"]:
        return F.softplus(self.ridge) + LEAST_RIDGE

    def _mesa_inputs(
        self, x: Float[Tensor, "... d_model"], qk: Float[Tensor, "... channels"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys and values (..., n_heads, head); β and log α (..., n_heads)."""
        q, k, v = (
            rearrange(z, "... (h d) -> ... h d", h=self.n_heads)
            for z in (*F.silu(qk).chunk(2, dim=-1), self.v_proj(x))
        )
        log_decay = F.logsigmoid(self.a_proj(x))
        return of_length_1(q), of_length_1(k), v, self.b_proj(x).sigmoid(), log_decay

    def _output(self, y: Float[Tensor, "... n_heads head"]) -> Float[Tensor, "... d_model"]:
        return self.out_proj(self.norm(y).flatten(-2))
