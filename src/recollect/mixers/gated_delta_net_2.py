"""Gated DeltaNet-2: KDA with separate strengths of erasing and writing (arXiv 2605.22791).

    b = sigmoid(x W_b), or twice that, for each key channel
    w = sigmoid(x W_w) for each value channel
    S_t = (I - k_t (b_t * k_t)') diag(α_t) S_{t-1} + k_t (w_t * v_t)'

Everything else is as in KDA, which has one strength β for both.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import RuleInputs
from recollect.mixers.kda import KDA


@register_mixer(
    "gated-delta-net-2",
    family="delta rule",
    title="Gated DeltaNet-2",
    paper="2605.22791",
    year=2026,
    look=21,
)
class GatedDeltaNet2(KDA):
    """The delta rule with separate gates on erasing and writing (Hatamizadeh et al., 2026).

    Args:
        d_model: width.
        n_heads: number of heads, each with its own state (the authors use a width of 128).
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        negative_eigenvalues: whether b is 2 sigmoid(x W_b), as parity and other groups need (Grazzi
            et al., 2024, arXiv 2411.12537); w stays below 1.

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v is below 1.
    """

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
            negative_eigenvalues=negative_eigenvalues,
        )
        self.b_proj = nn.Linear(d_model, d_model, bias=False)
        self.w_proj = nn.Linear(d_model, expand_v * d_model, bias=False)

    def _rule_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> RuleInputs:
        given = super()._rule_inputs(qkv, x)
        erased = given.beta.unflatten(-1, (self.n_heads, -1))
        written = self.w_proj(x).sigmoid().unflatten(-1, (self.n_heads, -1))
        whole = torch.ones_like(given.v[..., 0])
        return replace(given, v=written * given.v, beta=whole, erase_key=erased * given.k)
