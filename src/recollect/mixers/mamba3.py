"""Mamba-3 (Lahoti et al., 2026, arXiv 2603.15569).

    z, x, B, C, dt, A, λ, θ = u W_in
    dt = softplus(dt + dt_bias),   A = -max(heavy(A), A_FLOOR),   λ = sigmoid(λ)
    B, C = RMSNorm(B) + B_bias, RMSNorm(C) + C_bias, rotated by the angles sum of π tanh(θ) dt
    S_t = a_t S_{t-1} + (1 - λ_t) dt_t a_t B_{t-1} x_{t-1}^T + λ_t dt_t B_t x_t^T,   a = exp(A dt)
    y = (C S + D x) * SiLU(z),   out = y W_out

with heavy(A) = 1 + A for A >= 0, else 1 / (1 - A). The angles accumulate over positions, so the
state rotates like a complex one. There is no convolution. With `mimo_rank` R above 1, B and C have
R rows per position. Learned weights expand x and z of a head to R rows and reduce y to one row.

Names, defaults and initialisation are those of the authors' code; linear maps keep PyTorch's
initialisation. Weight decay spares dt_bias and D, which their code marks. B_bias and C_bias, which
start at 1, have no mark there, so they are decayed.

Dimensions: h heads, r rank, n width of B and C (d_state), p width of x in a head (head_dim).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import inner_head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.step_sizes import inverse_softplus, random_log_dt
from recollect.ops.trapezoid import trapezoid_memory, trapezoid_memory_step
from recollect.ops.turning import turn_pairs

A_FLOOR = 1e-4
"""The slowest rate of decay."""
TURNED = 0.5
"""The fraction of the channels of B and C that are rotated, in pairs of neighbours."""


class Projected(NamedTuple):
    """The projections of the input at each position, before B and C are rotated."""

    z: Float[Tensor, "... h p"]
    x: Float[Tensor, "... h p"]
    b: Float[Tensor, "... h r n"]
    c: Float[Tensor, "... h r n"]
    dt: Float[Tensor, "... h"]
    log_decay: Float[Tensor, "... h"]
    share: Float[Tensor, "... h"]
    turns: Float[Tensor, "... h angles"]


@register_mixer(
    "mamba3", family="outer-product memory", title="Mamba-3", paper="2603.15569", year=2026, look=33
)
class Mamba3(nn.Module):
    """A linear recurrence with a matrix state, and input-dependent decay and rotation.

    Args:
        d_model: width.
        n_layers: depth of the model; the initial `out_proj` is divided by its square root.
        d_state: width of B and C, the number of rows of a head's state.
        expand: width of x in multiples of d_model.
        head_dim: width of x in one head; None: 64, or the width of x if that is less.
        mimo_rank: number of rows that each position writes and reads; 1: the plain form (SISO).

    Raises:
        UserError: if head_dim does not divide the width of x, or a size is too small.
    """

    def __init__(
        self,
        d_model: int,
        n_layers: int = 1,
        *,
        d_state: int = 128,
        expand: int = 2,
        head_dim: int | None = None,
        mimo_rank: int = 1,
    ) -> None:
        super().__init__()
        self.n_angles = int(TURNED * d_state) // 2
        if self.n_angles < 1:
            raise UserError(f"d_state={d_state}: expected at least {math.ceil(2 / TURNED)}")
        if expand < 1 or mimo_rank < 1:
            raise UserError(f"expand={expand}, mimo_rank={mimo_rank}: expected at least 1")
        d_inner = expand * d_model
        head_dim = inner_head_width(d_model, expand, head_dim)
        self.n_heads, self.head_dim = d_inner // head_dim, head_dim
        self.d_state, self.rank = d_state, mimo_rank
        keys = mimo_rank * d_state
        self.widths = [d_inner, d_inner, keys, keys, *[self.n_heads] * 3, self.n_angles]
        self.in_proj = nn.Linear(d_model, sum(self.widths), bias=False)
        self.dt_bias = nn.Parameter(inverse_softplus(random_log_dt(self.n_heads).exp()))
        self.B_norm = nn.Parameter(torch.ones(d_state))
        self.C_norm = nn.Parameter(torch.ones(d_state))
        self.B_bias = nn.Parameter(torch.ones(self.n_heads, mimo_rank, d_state))
        self.C_bias = nn.Parameter(torch.ones(self.n_heads, mimo_rank, d_state))
        self.D = nn.Parameter(torch.ones(self.n_heads))
        self.mimo_x: nn.Parameter | None = None
        self.mimo_z: nn.Parameter | None = None
        self.mimo_o: nn.Parameter | None = None
        if mimo_rank > 1:
            ones = torch.ones(self.n_heads, mimo_rank, head_dim)
            self.mimo_x = nn.Parameter(ones / mimo_rank)
            self.mimo_z = nn.Parameter(ones.clone())
            self.mimo_o = nn.Parameter(ones / mimo_rank)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(n_layers)
        keep_init(self)
        no_decay(self.dt_bias, self.D)

    def forward(self, u: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        given = self._project(u)
        angles = given.turns.cumsum(1)
        x = _rows(given.x, self.mimo_x)
        y = trapezoid_memory(
            *(
                rearrange(m, "b l h r d -> b h r l d")
                for m in (*turn_pairs(angles, given.c, given.b), x)
            ),
            *(m.transpose(1, 2) for m in (given.log_decay, given.dt, given.share)),
        )
        return self._output(rearrange(y, "b h r l p -> b l h r p"), x, given.z)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros."""

        def zeros(*shape: int) -> Tensor:
            return self.D.new_zeros(batch_size, self.n_heads, *shape)

        return {
            "memory": zeros(self.d_state, self.head_dim),
            "angles": zeros(self.n_angles),
            "b": zeros(self.rank, self.d_state),
            "x": zeros(self.head_dim),
        }

    def step(
        self, u_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: S, its angles, and the last B and x."""
        given = self._project(u_t)
        angles = torch.remainder(state["angles"] + given.turns, 2 * math.pi)
        c, b = turn_pairs(angles, given.c, given.b)
        x = _rows(given.x, self.mimo_x)
        y, memory = trapezoid_memory_step(
            c,
            b,
            x,
            given.log_decay,
            given.dt,
            given.share,
            state["memory"],
            state["b"],
            _rows(state["x"], self.mimo_x),
        )
        # a view would keep all projections alive
        new = {"memory": memory, "angles": angles, "b": b, "x": given.x.clone()}
        return self._output(y, x, given.z), new

    def _project(self, u: Float[Tensor, "... d_model"]) -> Projected:
        z, x, b, c, dt, a, share, turns = self.in_proj(u).split(self.widths, dim=-1)
        z, x = (rearrange(m, "... (h p) -> ... h p", p=self.head_dim) for m in (z, x))
        b, c = (
            F.rms_norm(
                rearrange(m, "... (r n) -> ... 1 r n", n=self.d_state), (self.d_state,), eps=1e-5
            )
            * weight
            + bias
            for m, weight, bias in ((b, self.B_norm, self.B_bias), (c, self.C_norm, self.C_bias))
        )
        dt = F.softplus(dt + self.dt_bias)
        rate = (a.clamp(min=0) + 1 / (1 - a.clamp(max=0))).clamp(min=A_FLOOR)
        turns = math.pi * turns.tanh()[..., None, :] * dt[..., None]
        return Projected(z, x, b, c, dt, -rate * dt, share.sigmoid(), turns)

    def _output(
        self,
        y: Float[Tensor, "... h r p"],
        x: Float[Tensor, "... h r p"],
        z: Float[Tensor, "... h p"],
    ) -> Float[Tensor, "... d_model"]:
        y = (y + self.D[:, None, None] * x) * F.silu(_rows(z, self.mimo_z))
        y = y.squeeze(-2) if self.mimo_o is None else (y * self.mimo_o).sum(-2)
        return self.out_proj(y.flatten(-2))


def _rows(
    x: Float[Tensor, "... h p"], weights: Float[Tensor, "h r p"] | None
) -> Float[Tensor, "... h r p"]:
    """Expand each head's vector to r rows by weights; without weights to one row."""
    return x[..., None, :] if weights is None else x[..., None, :] * weights
