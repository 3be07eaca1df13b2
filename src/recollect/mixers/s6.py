"""S6, the selective scan of Mamba on its own (arXiv 2312.00752, section 3.2).

    x = SiLU(in_proj(u))
    dt, B, C = x_proj(x)                                     dt of a low rank
    out = out_proj(scan(x, softplus(dt_proj(dt)), A, B, C) + D x)

It is Mamba without gate, convolution and expansion, for transformer-like blocks ("S6 + MLP" of
arXiv 2508.19029).
"""

from __future__ import annotations

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.mamba import Mamba


@register_mixer(
    "s6",
    family="diagonal scan",
    title="S6",
    paper="2312.00752",
    year=2023,
    look=12,
    looks_back=False,
)
class S6(Mamba):
    """A selective scan between two linear maps.

    Args:
        d_model: width.
        n_layers: depth of the model; the initial `out_proj` is divided by its square root.
        d_state: number of states per channel.
        d_conv: width of a convolution on the scan's input; 0: none.
        expand: channels of the scan, in multiples of d_model.
        dt_rank: rank of the map to the step sizes; "auto": d_model / 16, rounded up.

    Raises:
        UserError: if a size is out of range.
    """

    def __init__(
        self,
        d_model: int,
        n_layers: int = 1,
        *,
        d_state: int = 16,
        d_conv: int = 0,
        expand: int = 1,
        dt_rank: int | str = "auto",
    ) -> None:
        super().__init__(
            d_model,
            n_layers,
            d_state=d_state,
            d_conv=d_conv,
            expand=expand,
            dt_rank=dt_rank,
            gate=False,
        )
