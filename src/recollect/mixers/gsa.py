"""Gated slot attention, GSA (Zhang et al., 2024, arXiv 2409.07146).

    q, k, v = SiLU(x W_q), SiLU(x W_k), SiLU(x W_v)
    α = sigmoid(x W_f)^(1/8), one decay for each slot
    K_t = diag(α_t) K_{t-1} + (1 - α_t) k_t^T,   V_t = diag(α_t) V_{t-1} + (1 - α_t) v_t^T
    y = RMSNorm(SiLU(V^T softmax(K q))) W_o

The norm acts on all heads together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.slot_mixer import SlotMixer

GATE_TEMPERATURE = 8.0
"""Divides the logarithm of the sigmoid: decays start near 0.92 per position, which forgets
slowly."""


@register_mixer(
    "gsa",
    family="outer-product memory",
    title="GSA",
    paper="2409.07146",
    year=2024,
    look=26,
    looks_back=False,
)
class GatedSlotAttention(SlotMixer):
    """Softmax attention to a fixed number of slots, each with a key and a value.

    Args:
        d_model: width.
        n_heads: number of heads, each with its own slots.
        n_slots: number of slots per head; None: the width of a head.

    Raises:
        UserError: if n_heads does not divide d_model, or n_slots is below 1.
    """

    def __init__(self, d_model: int, *, n_heads: int = 4, n_slots: int | None = None) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        n_slots = head if n_slots is None else n_slots
        if n_slots < 1:
            raise UserError(f"n_slots={n_slots}: expected at least 1, or None for a head's width")
        self.n_heads = n_heads
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.f_proj = nn.Linear(d_model, n_heads * n_slots, bias=False)
        self.norm = nn.RMSNorm(d_model, eps=1e-5)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return the state before the first token: empty slots."""
        head, n_slots = (z.weight.shape[0] // self.n_heads for z in (self.k_proj, self.f_proj))
        empty = self.k_proj.weight.new_zeros(batch_size, self.n_heads, n_slots, head)
        return {"keys": empty, "values": empty.clone()}

    def _memory_inputs(
        self, x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values, write weights and log α, each (..., n_heads, width)."""
        q, k, v, f = (
            rearrange(projection(x), "... (h d) -> ... h d", h=self.n_heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj, self.f_proj)
        )
        log_decay = F.logsigmoid(f) / GATE_TEMPERATURE
        return F.silu(q), F.silu(k), F.silu(v), -torch.expm1(log_decay), log_decay
