"""Mamba: a gated selective scan behind a short convolution (Gu and Dao, 2023, arXiv 2312.00752).

    x, z = in_proj(u)                             z gates the output
    x = SiLU(conv1d(x))
    dt, B, C = x_proj(x)                          dt of a low rank; optionally each with a norm
    y = scan(x, softplus(dt_proj(dt)), A, B, C) + D x
    out = out_proj(y * SiLU(z))                   figure 3 of the paper

Names, defaults and initialisation are those of the authors' code for models without MLPs; with
them it divides the initial out_proj by sqrt(2) more.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.mixers.step_sizes import inverse_softplus, random_log_dt
from recollect.ops.scan import selective_scan, selective_scan_step


@register_mixer(
    "mamba", family="diagonal scan", title="Mamba", paper="2312.00752", year=2023, look=1
)
class Mamba(nn.Module):
    """The mixer of Mamba.

    Args:
        d_model: width.
        n_layers: depth of the model; the initial `out_proj` is divided by its square root.
        d_state: number of states per channel.
        d_conv: width of the convolution; 0: none, but the SiLU stays (an ablation of arXiv
            2508.19029).
        expand: channels of the scan, in multiples of d_model.
        dt_rank: rank of the map to the step sizes; "auto": d_model / 16, rounded up.
        gate: whether z gates the output; if False, in_proj computes only x.
        inner_norms: whether dt (before its map to the channels), B and C each have an RMS norm, as
            in Jamba (arXiv 2403.19887) and Hymba. If dt_rank is 1, as in widths of up to 16, the
            norm of dt is hardly more than a sign.

    Raises:
        UserError: if a size is out of range.
    """

    later_options = ("inner_norms",)

    def __init__(
        self,
        d_model: int,
        n_layers: int = 1,
        *,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | str = "auto",
        gate: bool = True,
        inner_norms: bool = False,
    ) -> None:
        super().__init__()
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        if isinstance(rank, str) or rank < 1:
            raise UserError(f"dt_rank={dt_rank!r}: expected a number of at least 1, or 'auto'")
        if d_state < 1 or expand < 1 or d_conv < 0:
            raise UserError(
                f"d_state={d_state}, expand={expand}, d_conv={d_conv}:"
                " expected at least 1, 1 and 0 (no convolution)"
            )
        d_inner = expand * d_model
        self.split = [rank, d_state, d_state]
        self.in_proj = nn.Linear(d_model, 2 * d_inner if gate else d_inner, bias=False)
        self.conv1d = ShortConv(d_inner, d_conv) if d_conv else None
        self.x_proj = nn.Linear(d_inner, sum(self.split), bias=False)
        self.inner_scales = nn.Parameter(torch.ones(sum(self.split))) if inner_norms else None
        self.dt_proj = nn.Linear(rank, d_inner)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        self.gate = gate
        self._initialise(n_layers)
        keep_init(self)
        no_decay(self.A_log, self.D)

    def _initialise(self, n_layers: int) -> None:
        """Set the parameters that do not keep PyTorch's initialisation."""
        d_inner, rank = self.dt_proj.weight.shape
        dt = random_log_dt(d_inner).exp()
        with torch.no_grad():
            self.dt_proj.weight.uniform_(-(rank**-0.5), rank**-0.5)
            self.dt_proj.bias.copy_(inverse_softplus(dt))
            self.out_proj.weight /= math.sqrt(n_layers)

    def forward(self, u: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        return self.out_proj(self.channels(u))

    def channels(self, u: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_inner"]:
        """Return the gated channels of the scan, the input of `out_proj`."""
        x, z = self._projected(u)
        x = F.silu(x if self.conv1d is None else self.conv1d(x))
        y, _ = selective_scan(x, *self._parameters_of_scan(x))
        return self._gated(x, y, z)

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return zeros: the scan's state (batch, d_inner, d_state) and the convolution's inputs."""
        state = {"scan": self.A_log.new_zeros(batch_size, *self.A_log.shape)}
        if self.conv1d is not None:
            state["conv"] = self.conv1d.initial_state(batch_size)
        return state

    def step(
        self, u_t: Float[Tensor, "batch d_model"], state: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Tensor]]:
        """Return one output and the new state; the given state is not modified."""
        channels, state = self.channels_step(u_t, state)
        return self.out_proj(channels), state

    def channels_step(
        self, u_t: Float[Tensor, "batch d_model"], state: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "batch d_inner"], dict[str, Tensor]]:
        """Return one position of `channels` and the new state."""
        x, z = self._projected(u_t)
        new = {}
        if self.conv1d is not None:
            x, new["conv"] = self.conv1d.step(x, state["conv"])
        x = F.silu(x)
        y, new["scan"] = selective_scan_step(x, *self._parameters_of_scan(x), state["scan"])
        return self._gated(x, y, z), new

    def _projected(
        self, u: Float[Tensor, "... d_model"]
    ) -> tuple[Float[Tensor, "... d_inner"], Float[Tensor, "... d_inner"] | None]:
        if not self.gate:
            return self.in_proj(u), None
        x, z = self.in_proj(u).chunk(2, dim=-1)
        return x, z

    def _parameters_of_scan(
        self, x: Float[Tensor, "... d_inner"]
    ) -> tuple[
        Float[Tensor, "... d_inner"],
        Float[Tensor, "d_inner d_state"],
        Float[Tensor, "... d_state"],
        Float[Tensor, "... d_state"],
    ]:
        """Step sizes, rates, input and output weights."""
        parts = self.x_proj(x).split(self.split, dim=-1)
        if self.inner_scales is not None:
            scales = self.inner_scales.split(self.split)
            parts = [  # in the precision of the weights, also under autocast
                F.rms_norm(part.to(scale.dtype), scale.shape, scale, eps=1e-6)
                for part, scale in zip(parts, scales, strict=True)
            ]
        dt, B, C = parts
        return F.softplus(self.dt_proj(dt)), -self.A_log.exp(), B, C

    def _gated(
        self,
        x: Float[Tensor, "... d_inner"],
        y: Float[Tensor, "... d_inner"],
        z: Float[Tensor, "... d_inner"] | None,
    ) -> Float[Tensor, "... d_inner"]:
        y = torch.addcmul(y, self.D, x)
        return y if z is None else y * F.silu(z)
