"""Gated DeltaProduct: several steps of the delta rule for each token (arXiv 2502.10297).

    S_t,0 = α_t S_{t-1},   S_t,i = (I - β_t,i k_t,i k_t,i') S_t,i-1 + β_t,i k_t,i v_t,i'
    β = 2 sigmoid(x W_b),   y_t = S_t,n' q_t

A product of n reflections can transform the state more than a single one, so it can track more
kinds of state. So can β up to 2, which allows negative eigenvalues. Projections, decay, norm and
gate are those of Gated DeltaNet.
"""

from __future__ import annotations

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import DecayingDeltaMixer


@register_mixer(
    "gated-delta-product",
    family="delta rule",
    title="Gated DeltaProduct",
    paper="2502.10297",
    year=2025,
    look=22,
)
class GatedDeltaProduct(DecayingDeltaMixer):
    """Gated DeltaNet with several keys and values per token (Siems et al., 2025).

    Args:
        d_model: width.
        n_heads: number of heads, each with its own state.
        expand_v: total width of one step's values, in multiples of d_model; that of its keys is
            d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        steps: how many keys and values each token writes, one after the other.

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v or steps is below 1.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        expand_v: int = 2,
        qkv_conv: int = 4,
        steps: int = 2,
    ) -> None:
        super().__init__(
            d_model,
            n_heads=n_heads,
            expand_v=expand_v,
            qkv_conv=qkv_conv,
            output_gate=True,
            steps=steps,
            negative_eigenvalues=True,
        )
