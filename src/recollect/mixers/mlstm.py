"""mLSTM, the layer of xLSTM with a matrix state (Beck et al., 2024, arXiv 2405.04517).

    x, z = u W_up;   c = SiLU(short convolution(x))
    q, k, v = c W_q, c W_k / sqrt(d), x W_v, block-diagonal maps with blocks of 4 channels
    i = [q k v] W_i + b_i,   f = sigmoid([q k v] W_f + b_f), one of each per head
    C_t = f_t C_{t-1} + e^{i_t} k_t v_t^T,   n_t = f_t n_{t-1} + e^{i_t} k_t
    h_t = C_t^T q_t / max(|n_t . q_t|, 1)
    y = ((norm of every head(h) + s c) * SiLU(z)) W_down

Initialisation is that of the authors' code. So is weight decay: it spares biases, the norm and the
skip s. Dimensions: d width of a head.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.ops.xlstm import mlstm, mlstm_step

BLOCK, CONV = 4, 4
"""Channels per block of the block-diagonal maps, and width of the convolution."""


@register_mixer(
    "mlstm", family="outer-product memory", title="mLSTM", paper="2405.04517", year=2024, look=38
)
class MLSTM(nn.Module):
    """A gated linear recurrence between an up- and a down-projection.

    Args:
        d_model: width.
        n_layers: depth of the model; the initial `down_proj` is divided by it.
        n_heads: number of heads. The authors' synthetic experiments have one; their code's default
            is 4.
        expand: width between the projections, in multiples of d_model.

    Raises:
        UserError: if n_heads or the block of 4 channels does not divide expand * d_model.
    """

    numerics = 2

    def __init__(
        self, d_model: int, n_layers: int = 1, *, n_heads: int = 4, expand: int = 2
    ) -> None:
        super().__init__()
        width = expand * d_model
        head_width(width, n_heads)
        if width < 1 or width % BLOCK:
            raise UserError(
                f"expand={expand} times d_model={d_model}: expected a multiple of {BLOCK}"
            )
        self.n_heads, self.width = n_heads, width
        self.up_proj = nn.Linear(d_model, 2 * width, bias=False)
        self.conv = ShortConv(width, CONV)
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Parameter(torch.empty(width // BLOCK, BLOCK, BLOCK)) for _ in range(3)
        )
        self.i_proj = nn.Linear(3 * width, n_heads)
        self.f_proj = nn.Linear(3 * width, n_heads)
        self.norm = nn.Parameter(torch.ones(width))
        self.skip = nn.Parameter(torch.ones(width))
        self.down_proj = nn.Linear(width, d_model, bias=False)
        for weight in (self.up_proj.weight, self.q_proj, self.k_proj, self.v_proj):
            nn.init.normal_(weight, std=math.sqrt(2 / (5 * d_model)))
        nn.init.normal_(self.down_proj.weight, std=2 / n_layers / math.sqrt(d_model))
        nn.init.zeros_(self.i_proj.weight)
        nn.init.zeros_(self.f_proj.weight)
        nn.init.normal_(self.i_proj.bias, std=0.1)
        with torch.no_grad():
            self.f_proj.bias.copy_(torch.linspace(3, 6, n_heads))
        keep_init(self)
        biases = (p for name, p in self.named_parameters() if name.endswith("bias"))
        no_decay(self.norm, self.skip, *biases)

    def forward(self, u: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        x, z = self.up_proj(u).chunk(2, dim=-1)
        c = F.silu(self.conv(x))
        h = mlstm(*(m.transpose(1, 2) for m in self._memory_inputs(x, c)))
        return self._output(h.transpose(1, 2), c, z)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros."""
        head = self.width // self.n_heads
        return {
            "memory": self.norm.new_zeros(batch_size, self.n_heads, head, head + 1),
            "m": self.norm.new_zeros(batch_size, self.n_heads),
            "conv": self.conv.initial_state(batch_size),
        }

    def step(
        self, u_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: C, n, their exponent, the convolution's inputs."""
        x, z = self.up_proj(u_t).chunk(2, dim=-1)
        c, conv = self.conv.step(x, state["conv"])
        c = F.silu(c)
        h, memory, m = mlstm_step(*self._memory_inputs(x, c), state["memory"], state["m"])
        return self._output(h, c, z), {"memory": memory, "m": m, "conv": conv}

    def _memory_inputs(
        self, x: Float[Tensor, "... width"], c: Float[Tensor, "... width"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """q, k and v (..., n_heads, d); i and log f (..., n_heads)."""
        q, k, v = (
            _in_blocks(z, weight)
            for z, weight in ((c, self.q_proj), (c, self.k_proj), (x, self.v_proj))
        )
        gates = torch.cat([q, k, v], dim=-1)
        q, k, v = (rearrange(z, "... (h d) -> ... h d", h=self.n_heads) for z in (q, k, v))
        k = k * k.shape[-1] ** -0.5
        return q, k, v, self.i_proj(gates), F.logsigmoid(self.f_proj(gates))

    def _output(
        self,
        h: Float[Tensor, "... n_heads d"],
        c: Float[Tensor, "... width"],
        z: Float[Tensor, "... width"],
    ) -> Float[Tensor, "... d_model"]:
        normed = F.layer_norm(h, h.shape[-1:], eps=1e-5).flatten(-2) * self.norm
        return self.down_proj((normed + self.skip * c) * F.silu(z))


def _in_blocks(
    x: Float[Tensor, "... width"], weight: Float[Tensor, "blocks 4 4"]
) -> Float[Tensor, "... width"]:
    """Apply a linear map within each block of channels."""
    y = einsum(x.unflatten(-1, (-1, BLOCK)), weight, "... n i, n o i -> ... n o")
    return y.flatten(-2)
