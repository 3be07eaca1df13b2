"""Mamba-2 (Dao and Gu, 2024, arXiv 2405.21060).

    z, x, B, C, dt = u W_in;   x, B, C = SiLU(short convolution(x, B, C))
    dt = softplus(dt + dt_bias),   a = exp(-exp(A_log) dt)
    S_t = a_t S_{t-1} + B_t (dt_t x_t)^T,   y_t = C_t S_t + D x_t
    out = (RMSNorm(y * SiLU(z))) W_out

Every head has one decay a; the heads of a group share B, their keys, and C, their queries.
Dimensions: g groups, h heads in a group, n width of B and C (d_state), p width of x in a head
(head_dim).

Names, defaults and initialisation are those of the authors' code; linear maps keep PyTorch's
initialisation.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import inner_head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.mixers.step_sizes import random_log_dt
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_step


@register_mixer(
    "mamba2", family="outer-product memory", title="Mamba-2", paper="2405.21060", year=2024, look=9
)
class Mamba2(nn.Module):
    """A linear recurrence with a matrix state and an input-dependent decay per head.

    Args:
        d_model: width.
        n_layers: depth of the model; the initial `out_proj` is divided by its square root.
        d_state: width of B and C, the number of rows of a head's state.
        d_conv: width of the short convolution on x, B and C; 0: none, but the SiLU stays.
        expand: width of x in multiples of d_model.
        head_dim: width of x in one head; None: 64, or the width of x if that is less.
        n_groups: number of groups of heads.

    Raises:
        UserError: if head_dim does not divide the width of x, or n_groups the number of heads.
    """

    def __init__(
        self,
        d_model: int,
        n_layers: int = 1,
        *,
        d_state: int = 128,
        d_conv: int = 4,
        expand: int = 2,
        head_dim: int | None = None,
        n_groups: int = 1,
    ) -> None:
        super().__init__()
        if d_state < 1 or expand < 1:
            raise UserError(f"d_state={d_state}, expand={expand}: expected at least 1")
        d_inner = expand * d_model
        head_dim = inner_head_width(d_model, expand, head_dim)
        n_heads = d_inner // head_dim
        if n_groups < 1 or n_heads % n_groups:
            raise UserError(f"n_groups={n_groups}: expected a divisor of the {n_heads} heads")
        self.head_dim, self.n_groups, self.d_state = head_dim, n_groups, d_state
        self.widths = [d_inner, n_groups * d_state, n_groups * d_state]  # of x, B, C
        self.in_proj = nn.Linear(d_model, d_inner + sum(self.widths) + n_heads, bias=False)
        self.conv1d = ShortConv(sum(self.widths), d_conv) if d_conv else None
        dt = random_log_dt(n_heads).exp()
        self.dt_bias = nn.Parameter(dt.expm1().log())  # the inverse softplus of dt
        self.A_log = nn.Parameter(torch.empty(n_heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(n_heads))
        self.norm = GatedRMSNorm(d_inner, n_groups)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(n_layers)
        keep_init(self)
        no_decay(self.dt_bias, self.A_log, self.D)

    def forward(self, u: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        z, x_b_c, dt = self._project(u)
        if self.conv1d is not None:
            x_b_c = self.conv1d(x_b_c)
        x, *memory_inputs = self._memory_inputs(x_b_c, dt)
        y = outer_product_memory(*(m.movedim(1, -2) for m in memory_inputs)).movedim(-2, 1)
        return self._output(y, x, z)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros."""
        heads = self.A_log.numel() // self.n_groups
        shape = (batch_size, self.n_groups, heads, self.d_state, self.head_dim)
        state: dict[str, Any] = {"memory": self.A_log.new_zeros(shape)}
        if self.conv1d is not None:
            state["conv"] = self.conv1d.initial_state(batch_size)
        return state

    def step(
        self, u_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: S, and the last inputs of the convolution."""
        new: dict[str, Any] = {}
        z, x_b_c, dt = self._project(u_t)
        if self.conv1d is not None:
            x_b_c, new["conv"] = self.conv1d.step(x_b_c, state["conv"])
        x, q_t, k_t, v_t, log_decay_t = self._memory_inputs(x_b_c, dt)
        y_t, new["memory"] = outer_product_memory_step(q_t, k_t, v_t, state["memory"], log_decay_t)
        return self._output(y_t, x, z), new

    def _project(self, u: Float[Tensor, "... d_model"]) -> tuple[Tensor, ...]:
        """The gate z; x, B and C concatenated; dt."""
        widths = [self.widths[0], sum(self.widths), self.A_log.numel()]
        return self.in_proj(u).split(widths, dim=-1)

    def _memory_inputs(
        self, x_b_c: Float[Tensor, "... channels"], dt: Float[Tensor, "... heads"]
    ) -> tuple[Tensor, ...]:
        """x, queries, keys, values and log decay, each (..., g, h, width)."""
        x, b, c = F.silu(x_b_c).split(self.widths, dim=-1)
        x = rearrange(x, "... (g h p) -> ... g h p", g=self.n_groups, p=self.head_dim)
        b, c = (rearrange(m, "... (g n) -> ... g 1 n", g=self.n_groups) for m in (b, c))
        dt = F.softplus(dt + self.dt_bias)
        log_decay = -self.A_log.exp() * dt
        dt, log_decay = (
            rearrange(m, "... (g h) -> ... g h 1", g=self.n_groups) for m in (dt, log_decay)
        )
        return x, c, b, dt * x, log_decay

    def _output(
        self,
        y: Float[Tensor, "... g h p"],
        x: Float[Tensor, "... g h p"],
        z: Float[Tensor, "... d_inner"],
    ) -> Float[Tensor, "... d_model"]:
        skip = rearrange(self.D, "(g h) -> g h 1", g=self.n_groups) * x
        return self.out_proj(self.norm((y + skip).flatten(-3), z))


class GatedRMSNorm(nn.Module):
    """y * SiLU(z), divided by its root mean square in each group of channels, times a weight.

    Args:
        channels: number of channels.
        n_groups: number of groups.
    """

    def __init__(self, channels: int, n_groups: int) -> None:
        super().__init__()
        self.n_groups = n_groups
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(
        self, y: Float[Tensor, "... channels"], z: Float[Tensor, "... channels"]
    ) -> Float[Tensor, "... channels"]:
        """Return the gated, then normed channels."""
        groups = (y * F.silu(z)).unflatten(-1, (self.n_groups, -1))
        return F.rms_norm(groups, groups.shape[-1:], eps=1e-5).flatten(-2) * self.weight
