"""RWKV-4's time mixing (Peng et al., 2023, arXiv 2305.13048, section 3.1).

Every position x_t is first mixed with the previous one, channel by channel, in three ways:

    x_t^□ = μ_□ x_t + (1 - μ_□) x_{t-1}                           for □ = r, k, v

    r = x^r W_r,   k = x^k W_k,   v = x^v W_v
    out = (sigmoid(r) * wkv(k, v, w, u)) W_o,   w = exp(time_decay), u = time_first

Initialisation and names with an underscore are those of the authors' code. In Zoology's code the
maps keep the initialisation of `nn.Linear`: it does not call the authors' initialisation, and its
own skips scripted maps.

The authors train time_decay with twice the learning rate, and time_first with three times; this
recipe does not.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init, no_decay
from recollect.ops.wkv import wkv, wkv_initial_state, wkv_step

ZOOLOGY_LAYERS = 12
"""The depth in Zoology's code: it never passes the model's depth, so this default remains."""


@register_mixer(
    "rwkv4", family="diagonal scan", title="RWKV-4", paper="2305.13048", year=2023, look=10
)
class RWKV4(nn.Module):
    """The time mixing of RWKV-4, without its channel mixing.

    Args:
        d_model: width.
        layer_idx: index of the layer, which sets the initialisation.
        n_layers: depth of the model, which also sets the initialisation.
        init: "authors": all maps except that of the values start at zero, so the initial mixer
            outputs zero. "zoology": the maps start like `nn.Linear`, and everything else as in a
            model of twelve layers.

    Raises:
        UserError: if init is unknown, or is "zoology" and the model has more than twelve layers.
    """

    later_options = ("init",)

    def __init__(
        self, d_model: int, layer_idx: int = 0, n_layers: int = 1, *, init: str = "authors"
    ) -> None:
        super().__init__()
        if init not in ("authors", "zoology"):
            raise UserError(f"init={init!r}: expected 'authors' or 'zoology'")
        if init == "zoology":
            n_layers = ZOOLOGY_LAYERS
            if layer_idx >= n_layers:
                raise UserError(
                    f"init='zoology' is defined for {n_layers} layers, not {layer_idx + 1}"
                )
        channel = torch.arange(d_model)
        depth, above = layer_idx / max(1, n_layers - 1), 1 - layer_idx / n_layers
        rising = channel / d_model
        mixes = [rising ** (above / 2), rising**above, rising**above + 0.3 * depth]
        self.mu = nn.Parameter(torch.stack(mixes))  # of r, k, v
        self.r_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(4)
        )
        if init == "authors":
            nn.init.orthogonal_(self.v_proj.weight)
            for started_at_zero in (self.r_proj, self.k_proj, self.out_proj):
                nn.init.zeros_(started_at_zero.weight)
        speed = (channel / max(1, d_model - 1)) ** (0.7 + 1.3 * depth)
        self.time_decay = nn.Parameter(8 * speed - 5)
        self.time_first = nn.Parameter(math.log(0.3) + 0.5 * ((channel + 1) % 3 - 1))
        keep_init(self)
        no_decay(self.mu, self.time_decay, self.time_first)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        r, k, v = self._projected(x, F.pad(x, (0, 0, 1, -1)))
        y, _ = wkv(k, v, self.time_decay.exp(), self.time_first)
        return self.out_proj(r.sigmoid() * y)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: empty sums, and a previous input of zeros."""
        previous = self.time_decay.detach().new_zeros(batch_size, self.time_decay.numel())
        return {"previous": previous, "wkv": wkv_initial_state(previous)}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: the sums of the average, and the previous input."""
        r_t, k_t, v_t = self._projected(x_t, state["previous"])
        y_t, average = wkv_step(k_t, v_t, self.time_decay.exp(), self.time_first, state["wkv"])
        # a view of x_t would keep its whole tensor alive
        return self.out_proj(r_t.sigmoid() * y_t), {"previous": x_t.clone(), "wkv": average}

    def _projected(
        self, x: Float[Tensor, "... d_model"], previous: Float[Tensor, "... d_model"]
    ) -> list[Float[Tensor, "... d_model"]]:
        """r, k and v."""
        projections = (self.r_proj, self.k_proj, self.v_proj)
        return [
            project(torch.lerp(previous, x, mix))
            for project, mix in zip(projections, self.mu, strict=True)
        ]
