"""Comba: Gated DeltaNet with feedback on its erasure and on its output (arXiv 2506.02475).

    S_t = α_t S_{t-1} + β_t k_t (v_t - S_{t-1}' p_t)',   p_t = sigmoid(b) k_t
    y_t = S_t' (q_t - d k_t)
    out = (RMSNorm(y) * sigmoid(x W_g)) W_o

This is the paper's equation 5, transposed: a scalar plus a low rank. The old value is read before
the state decays; Gated DeltaNet reads it after. α, β and the projections are those of Gated
DeltaNet.

b and d are learned, one of each per head; b starts at 1, d at 0.01. The public code (AwesomeSeq/
Comba-triton, and its successor in flash-linear-attention) differs in two points: it normalises p,
which cancels b, and it takes d p, before the normalisation of keys and queries, for d k. Here both
are as in the paper.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import DecayingDeltaMixer, RuleInputs
from recollect.mixers.marks import keep_init, no_decay


@register_mixer("comba", family="delta rule", title="Comba", paper="2506.02475", year=2025, look=23)
class Comba(DecayingDeltaMixer):
    """Gated DeltaNet that erases a fraction of the old value and corrects its output.

    Source: Hu et al., 2025, arXiv 2506.02475.

    Args:
        d_model: width.
        n_heads: number of heads, each with its own state.
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        correction: initial value of d. The default is that of the authors' repository. The authors
            advise 0.02 for 340 million parameters and 1 for 1.3 billion, and their layer in
            flash-linear-attention starts at 1.

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v is below 1.
    """

    numerics = 2
    gate = staticmethod(torch.sigmoid)
    read_first = True

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        expand_v: int = 2,
        qkv_conv: int = 4,
        correction: float = 0.01,
    ) -> None:
        super().__init__(
            d_model, n_heads=n_heads, expand_v=expand_v, qkv_conv=qkv_conv, output_gate=True
        )
        self.b = nn.Parameter(torch.ones(n_heads, 1))
        self.d = nn.Parameter(torch.full((n_heads, 1), float(correction)))
        keep_init(self.b, self.d)
        no_decay(self.d)

    def _rule_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> RuleInputs:
        given = super()._rule_inputs(qkv, x)
        return replace(given, q=given.q - self.d * given.k, erase_key=self.b.sigmoid() * given.k)
