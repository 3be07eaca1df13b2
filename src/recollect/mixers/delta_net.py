"""DeltaNet and Gated DeltaNet: linear attention that replaces the value at a key.

    q, k, v = SiLU(short convolution(x W_q, x W_k, x W_v)), q and k of unit length in every head
    β = sigmoid(x W_b), or twice that
    y = RMSNorm(delta_rule(q, k, v, β)) W_o

Gated DeltaNet adds a decay of the state and an output gate:

    α = exp(-exp(A_log) softplus(x W_a + dt_bias))
    y = (RMSNorm(delta_rule(q, k, v, β, α)) * SiLU(x W_g)) W_o
"""

from __future__ import annotations

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import DecayingDeltaMixer, DeltaMixer


@register_mixer(
    "delta-net", family="delta rule", title="DeltaNet", paper="2406.06484", year=2024, look=5
)
class DeltaNet(DeltaMixer):
    """The delta rule on convolved, normalised keys (Yang et al., 2024, arXiv 2406.06484).

    Args:
        d_model: width.
        n_heads: number of heads, each with its own state.
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        output_gate: whether a gate computed from the input multiplies the output.
        negative_eigenvalues: whether β is 2 sigmoid(x W_b), as parity and other groups need
            (Grazzi et al., 2024, arXiv 2411.12537).

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v is below 1.
    """

    later_options = ("negative_eigenvalues",)

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        expand_v: int = 1,
        qkv_conv: int = 4,
        output_gate: bool = False,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__(
            d_model,
            n_heads=n_heads,
            expand_v=expand_v,
            qkv_conv=qkv_conv,
            output_gate=output_gate,
            negative_eigenvalues=negative_eigenvalues,
        )


@register_mixer(
    "gated-delta-net",
    family="delta rule",
    title="Gated DeltaNet",
    paper="2412.06464",
    year=2024,
    look=13,
)
class GatedDeltaNet(DecayingDeltaMixer):
    """DeltaNet with the decay of Mamba-2 and an output gate (Yang et al., 2024, arXiv 2412.06464).

    Args:
        d_model: width.
        n_heads: number of heads, each with its own state.
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model
            (3/2 and 3/4 in the authors' language models).
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        output_gate: whether a gate computed from the input multiplies the output.
        negative_eigenvalues: whether β is 2 sigmoid(x W_b), as parity and other groups need
            (Grazzi et al., 2024, arXiv 2411.12537).

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v is below 1.
    """

    later_options = ("negative_eigenvalues",)

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        expand_v: int = 2,
        qkv_conv: int = 4,
        output_gate: bool = True,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__(
            d_model,
            n_heads=n_heads,
            expand_v=expand_v,
            qkv_conv=qkv_conv,
            output_gate=output_gate,
            negative_eigenvalues=negative_eigenvalues,
        )
