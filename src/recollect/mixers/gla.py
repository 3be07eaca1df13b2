"""Gated linear attention, GLA (Yang et al., 2023, arXiv 2312.06635).

    q, k, v = x W_Q, x W_K, x W_V
    α = sigmoid(x W_1 W_2 + b)^(1/16), one decay per key channel                  (section 4.4)
    S_t = diag(α_t) S_{t-1} + k_t v_t^T
    y = (swish(x W_r + b_r) * LayerNorm(q S / sqrt(d_k))) W_O

The norm acts on each head and has no weights.
"""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_step

GATE_RANK = 16
GATE_TEMPERATURE = 16.0
"""Divides the logarithm of the sigmoid: decays start near 0.96 per position, which forgets
slowly."""


@register_mixer(
    "gla",
    family="outer-product memory",
    title="GLA",
    paper="2312.06635",
    year=2023,
    look=16,
    looks_back=False,
)
class GatedLinearAttention(nn.Module):
    """Linear attention with an input-dependent decay for each key channel.

    Args:
        d_model: width.
        n_heads: number of heads.
        expand_k: total width of the keys, in multiples of d_model.
        expand_v: total width of the values, in multiples of d_model.

    Raises:
        UserError: if n_heads does not divide the widths of keys and values.
    """

    def __init__(
        self, d_model: int, *, n_heads: int = 4, expand_k: float = 0.5, expand_v: float = 1.0
    ) -> None:
        super().__init__()
        d_k, d_v = int(expand_k * d_model), int(expand_v * d_model)
        if n_heads < 1 or min(d_k, d_v) < 1 or d_k % n_heads or d_v % n_heads:
            raise UserError(
                f"n_heads={n_heads}: expected a divisor of the widths of keys ({d_k}) and values"
                f" ({d_v}), which are expand_k and expand_v times d_model={d_model}"
            )
        self.n_heads = n_heads
        self.q_proj = nn.Linear(d_model, d_k, bias=False)
        self.k_proj = nn.Linear(d_model, d_k, bias=False)
        self.k_gate = nn.Sequential(
            nn.Linear(d_model, GATE_RANK, bias=False), nn.Linear(GATE_RANK, d_k)
        )
        self.v_proj = nn.Linear(d_model, d_v, bias=False)
        self.g_proj = nn.Linear(d_model, d_v)
        self.out_proj = nn.Linear(d_v, d_model, bias=False)
        for projection in (self.q_proj, self.k_proj, *self.k_gate):
            nn.init.xavier_uniform_(projection.weight, gain=2**-2.5)
            keep_init(projection.weight)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        y = outer_product_memory(*(z.transpose(1, 2) for z in self._memory_inputs(x)))
        return self._output(y.transpose(1, 2), x)

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch n_heads d_k d_v"]:
        """Return the state before the first token: zeros."""
        d_k, d_v = (z.weight.shape[0] // self.n_heads for z in (self.k_proj, self.v_proj))
        return self.k_proj.weight.new_zeros(batch_size, self.n_heads, d_k, d_v)

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: Float[Tensor, "batch n_heads d_k d_v"]
    ) -> tuple[Float[Tensor, "batch d_model"], Float[Tensor, "batch n_heads d_k d_v"]]:
        """Return one output and the new state, the matrix S."""
        q_t, k_t, v_t, log_decay_t = self._memory_inputs(x_t)
        y_t, state = outer_product_memory_step(q_t, k_t, v_t, state, log_decay_t)
        return self._output(y_t, x_t), state

    def _memory_inputs(
        self, x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values and log α (..., n_heads, width)."""
        q, k, v, gate = (
            rearrange(projection(x), "... (h d) -> ... h d", h=self.n_heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj, self.k_gate)
        )
        return q * q.shape[-1] ** -0.5, k, v, F.logsigmoid(gate) / GATE_TEMPERATURE

    def _output(
        self, y: Float[Tensor, "... n_heads d_v"], x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        y = F.layer_norm(y, y.shape[-1:], eps=1e-5).flatten(-2)
        return self.out_proj(F.silu(self.g_proj(x)) * y)
