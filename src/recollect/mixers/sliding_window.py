"""Sliding-window attention (Beltagy et al., 2020, arXiv 2004.05150).

    a_ts = softmax over t - window < s <= t of q_t . k_s / sqrt(d_k)
    y_t = (sum over s of a_ts v_s) W_O

It is the local attention of Based and Griffin. Its state grows up to the size of the window.
"""

from __future__ import annotations

from recollect.mixers.attention import Attention
from recollect.mixers.catalogue import register_mixer


@register_mixer(
    "sliding-window",
    family="attention",
    title="Sliding-window attention",
    paper="2004.05150",
    year=2020,
    look=7,
)
class SlidingWindowAttention(Attention):
    """Causal attention to the nearest positions.

    Args:
        d_model: width.
        rope: whether queries and keys are rotated by position (`ops.rotary`).
        window: number of positions that each one sees, including itself. Based uses 64 to 128,
            Griffin 1,024; a window of the sequence's length is full attention.
        n_heads: number of heads.
        qkv_conv: width of a short convolution on queries, keys and values; 0: none.
        dropout: dropout on the attention weights in training.
        bias: whether the linear maps have biases.

    Raises:
        UserError: as in `Attention`.
    """

    def __init__(
        self,
        d_model: int,
        *,
        rope: bool = False,
        qkv_canon: bool = False,
        window: int = 64,
        n_heads: int = 1,
        qkv_conv: int = 0,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(
            d_model,
            rope=rope,
            qkv_canon=qkv_canon,
            n_heads=n_heads,
            qkv_conv=qkv_conv,
            window=window,
            dropout=dropout,
            bias=bias,
        )
