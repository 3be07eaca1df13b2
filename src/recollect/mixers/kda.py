"""Kimi Delta Attention, KDA: the delta rule with a decay per channel (arXiv 2510.26692).

    q, k, v = SiLU(short convolution(x W_q, x W_k, x W_v)), q and k of unit length in every head
    β = sigmoid(x W_b), or twice that,   α = exp(-exp(A_log) softplus(x W_f W_f' + dt_bias))
    S_t = (I - β_t k_t k_t') diag(α_t) S_{t-1} + β_t k_t v_t'
    y = (RMSNorm(S' q) * sigmoid(x W_g W_g' + b)) W_o

α has a value for each key channel. The maps of α and of the gate have a rank equal to the width of
a head's values. A_log and dt_bias start as in the authors' code.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import DeltaMixer, RuleInputs
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.step_sizes import inverse_softplus, random_log_dt


@register_mixer("kda", family="delta rule", title="KDA", paper="2510.26692", year=2025, look=20)
class KDA(DeltaMixer):
    """Gated DeltaNet with a decay per key channel (Kimi Team, 2025).

    Args:
        d_model: width.
        n_heads: number of heads, each with its own state (the authors use a width of 128).
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        negative_eigenvalues: whether β is 2 sigmoid(x W_b), as parity and other groups need
            (Grazzi et al., 2024, arXiv 2411.12537).

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v is below 1.
    """

    later_options = ("negative_eigenvalues",)
    gate = staticmethod(torch.sigmoid)

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        expand_v: int = 1,
        qkv_conv: int = 4,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__(
            d_model,
            n_heads=n_heads,
            expand_v=expand_v,
            qkv_conv=qkv_conv,
            output_gate=False,
            negative_eigenvalues=negative_eigenvalues,
        )
        values = expand_v * d_model
        rank = values // n_heads
        self.f_proj = nn.Sequential(
            nn.Linear(d_model, rank, bias=False), nn.Linear(rank, d_model, bias=False)
        )
        self.g_proj = nn.Sequential(nn.Linear(d_model, rank, bias=False), nn.Linear(rank, values))
        self.A_log = nn.Parameter(torch.empty(n_heads, 1).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(random_log_dt(d_model).exp()))
        keep_init(self.A_log, self.dt_bias)
        no_decay(self.A_log, self.dt_bias)

    def _rule_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> RuleInputs:
        dt = F.softplus(self.f_proj(x) + self.dt_bias).unflatten(-1, (self.n_heads, -1))
        return replace(super()._rule_inputs(qkv, x), log_decay=-self.A_log.exp() * dt)
