"""The linear attention of Based (Arora et al., 2024, arXiv 2402.18668).

    y_t = sum over s <= t of w_ts v_s / sum over s <= t of w_ts,
    w_ts = 1 + z + z^2 / 2,   z = q_t . k_s / sqrt(feature_dim)

The weights approximate softmax's exp(z). Based itself is a pattern of layers: some with this mixer,
others with a short convolution (Zoology, arXiv 2312.04927) or attention in a sliding window.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.linear_attention import FeatureAttention
from recollect.ops.feature_maps import taylor_features


@register_mixer(
    "taylor-linear-attention",
    family="outer-product memory",
    title="Taylor linear attention",
    paper="2402.18668",
    year=2024,
    look=17,
    looks_back=False,
)
class TaylorLinearAttention(FeatureAttention):
    """Linear attention with the second-order Taylor expansion of softmax's weights.

    Args:
        d_model: width.
        n_heads: number of heads; papers on recall use one.
        feature_dim: width of one head's query, d; the state has 1 + d + d (d + 1) / 2 rows. Based
            uses 16, Zoology 8.

    Raises:
        UserError: if n_heads does not divide d_model, or feature_dim is below 1.
    """

    wants_positions = True

    def __init__(self, d_model: int, *, n_heads: int = 1, feature_dim: int = 16) -> None:
        if feature_dim < 1:
            raise UserError(f"feature_dim={feature_dim}: expected at least 1")
        # the weights are at least 1/2, so their sum needs no eps
        super().__init__(d_model, n_heads=n_heads, key_dim=feature_dim, bias=False, eps=0.0)

    def features(self, x: Float[Tensor, "... key_dim"]) -> Float[Tensor, "... D"]:
        """Return features whose inner product is 1 + z + z^2 / 2 (`ops.feature_maps`)."""
        return taylor_features(x)
