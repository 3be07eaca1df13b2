"""Raven: a router chooses a few slots for each token (Afzal, Bick et al., 2026).

    q, k = RMSNorm of every head(SiLU(x W_q), SiLU(x W_k)),   v = SiLU(x W_v)
    r = sigmoid(x W_r) on the top_k slots, divided by its sum, and 0 on the others
    log α = -exp(A_log) softplus(x W_a + dt_bias) r, one decay for each slot
    K_t = diag(α_t) K_{t-1} + (1 - α_t) k_t^T,   V_t = diag(α_t) V_{t-1} + (1 - α_t) v_t^T
    y = RMSNorm(SiLU(V^T softmax(K q))) W_o

A slot that is not chosen does not change. Initialisation is that of the authors' code
(goombalab/raven); in their models a token writes to 32 of 256 slots. They add Gumbel noise to the
router's logits in training; here the noise is optional and off by default.
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
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.slot_mixer import SlotMixer
from recollect.mixers.step_sizes import inverse_softplus, random_log_dt
from recollect.ops.dropout import uniform


@register_mixer(
    "raven",
    family="outer-product memory",
    title="Raven",
    paper="goombalab/raven",
    year=2026,
    look=37,
    looks_back=False,
)
class Raven(SlotMixer):
    """Softmax attention to a fixed number of slots, of which each token writes to a few.

    Args:
        d_model: width.
        n_heads: number of heads, each with its own slots.
        n_slots: number of slots per head.
        top_k: number of slots that a token writes to.
        noise: whether the router's logits get Gumbel noise in training, as in the authors' code.

    Raises:
        UserError: if n_heads does not divide d_model, or top_k is not between 1 and n_slots.
    """

    draws = True  # training gives the noise a key, so that it does not depend on other models

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 4,
        n_slots: int = 32,
        top_k: int = 4,
        noise: bool = False,
    ) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        if not 1 <= top_k <= n_slots:
            raise UserError(f"top_k={top_k}: expected at least 1 and at most n_slots={n_slots}")
        self.n_heads, self.top_k, self.noise = n_heads, top_k, noise
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(3)
        )
        self.a_proj = nn.Linear(d_model, n_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(n_heads).uniform_(1e-4, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(random_log_dt(n_heads).exp()))
        keep_init(self.A_log, self.dt_bias)
        no_decay(self.A_log, self.dt_bias)
        self.r_proj = nn.Linear(d_model, n_heads * n_slots, bias=False)
        self.q_norm = nn.Parameter(torch.ones(head))
        self.k_norm = nn.Parameter(torch.ones(head))
        self.norm = nn.RMSNorm(d_model, eps=1e-5)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return the state before the first token: empty slots."""
        n_slots = self.r_proj.out_features // self.n_heads
        shape = (batch_size, self.n_heads, n_slots, self.k_norm.numel())
        return {"keys": self.k_norm.new_zeros(shape), "values": self.k_norm.new_zeros(shape)}

    def _memory_inputs(
        self, x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values, write weights and log α, each (..., n_heads, width)."""
        q, k, v, router = (
            rearrange(projection(x), "... (h d) -> ... h d", h=self.n_heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj, self.r_proj)
        )
        q, k = (
            F.rms_norm(F.silu(z), z.shape[-1:], eps=1e-5) * weight
            for z, weight in ((q, self.q_norm), (k, self.k_norm))
        )
        rate = -self.A_log.exp() * F.softplus(self.a_proj(x) + self.dt_bias)
        log_decay = rate[..., None] * self._routed(router)
        return q, k, F.silu(v), -torch.expm1(log_decay), log_decay

    def _routed(
        self, logits: Float[Tensor, "... n_heads slots"]
    ) -> Float[Tensor, "... n_heads slots"]:
        """The router's weight of each slot; 0 for slots that are not chosen."""
        if self.noise and self.training:
            logits = logits - (-uniform(logits).log()).log()
        scores = logits.sigmoid()
        chosen = scores.topk(self.top_k, dim=-1).indices
        kept = scores * torch.zeros_like(scores).scatter(-1, chosen, 1.0)
        return kept / (kept.sum(-1, keepdim=True) + 1e-9)
