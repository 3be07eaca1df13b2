"""Griffin's recurrent block around the RG-LRU (De et al., 2024, arXiv 2402.19427, section 2.3-2.4).

    x = convolution(u W_x),   y = GeLU(u W_y)
    r = sigmoid(x W_a + b_a),   i = sigmoid(x W_i + b_i)                          (eq. 1, 2)
    log a_t = -8 r_t softplus(a_param)                                            (eq. 3)
    h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t x_t)                                 (eq. 4)
    out = (h y) W_o

Initialisation, names with an underscore, the GeLU's tanh and the bound on the gradient of the
square root follow the authors' code. That code draws the initial decay, between 0.9 and 0.999, at
r = 1/8 rather than r = 1. It also adds the first input unscaled; here eq. 4 holds for all inputs.
Their example of training exempts the gates' weights, too, and all biases from weight decay; here
only a_param is exempt.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.ops.bounded_root import bounded_root
from recollect.ops.diagonal import diagonal_scan, diagonal_scan_step

LOWEST, HIGHEST = 0.9, 0.999
"""Range of the initial decay; its square is uniform."""


@register_mixer(
    "rg-lru", family="diagonal scan", title="RG-LRU", paper="2402.19427", year=2024, look=15
)
class RGLRU(nn.Module):
    """A gated linear recurrence behind a short convolution, times a second branch.

    Args:
        d_model: width.
        n_layers: depth of the model; the initial `out_proj` is divided by its square root.
        lru_width: channels of the recurrence; None: d_model, as in RecurrentGemma (Griffin has
            about 4/3 d_model).
        d_conv: width of the convolution.
        n_blocks: number of blocks of channels; a gate sees the channels of its own block. The
            default is 1, since the authors' blocks are 256 wide.

    Raises:
        UserError: if n_blocks does not divide lru_width, or a width is below 1.
    """

    def __init__(
        self,
        d_model: int,
        n_layers: int = 1,
        *,
        lru_width: int | None = None,
        d_conv: int = 4,
        n_blocks: int = 1,
    ) -> None:
        super().__init__()
        width = d_model if lru_width is None else lru_width
        if width < 1:
            raise UserError(f"lru_width={lru_width}: expected at least 1, or None for d_model")
        if n_blocks < 1 or width % n_blocks:
            raise UserError(f"n_blocks={n_blocks}: expected a divisor of the width {width}")
        self.linear_x = nn.Linear(d_model, width)
        self.linear_y = nn.Linear(d_model, width)
        self.conv_1d = ShortConv(width, d_conv)
        self.input_gate = BlockDiagonalLinear(width, n_blocks)
        self.a_gate = BlockDiagonalLinear(width, n_blocks)
        decay = torch.empty(width).uniform_(LOWEST**2, HIGHEST**2).sqrt()
        self.a_param = nn.Parameter((1 / decay - 1).log())  # softplus(a_param) = -log(decay)
        self.out_proj = nn.Linear(width, d_model)
        for weight, variance in (
            (self.linear_x.weight, 1 / d_model),
            (self.linear_y.weight, 1 / d_model),
            (self.conv_1d.weight, 0.01 / d_conv),
            (self.out_proj.weight, 2 / n_layers / width),
        ):
            nn.init.normal_(weight, std=math.sqrt(variance))
        for layer in (self.linear_x, self.linear_y, self.conv_1d, self.out_proj):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        keep_init(self)
        no_decay(self.a_param)

    def forward(self, u: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        states = diagonal_scan(*self._scan_inputs(self.conv_1d(self.linear_x(u))))
        return self._output(states, u)

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return zeros: the state of the recurrence, and past inputs of the convolution."""
        return {
            "h": self.a_param.new_zeros(batch_size, self.a_param.numel()),
            "conv": self.conv_1d.initial_state(batch_size),
        }

    def step(
        self, u_t: Float[Tensor, "batch d_model"], state: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Tensor]]:
        """Return one output and the new states of the recurrence and the convolution."""
        x_t, conv = self.conv_1d.step(self.linear_x(u_t), state["conv"])
        h = diagonal_scan_step(*self._scan_inputs(x_t), state["h"])
        return self._output(h, u_t), {"h": h, "conv": conv}

    def _scan_inputs(
        self, x: Float[Tensor, "... width"]
    ) -> tuple[Float[Tensor, "... width"], Float[Tensor, "... width"]]:
        """The decay a, and the input added to the state."""
        log_a = -8 * self.a_gate(x).sigmoid() * F.softplus(self.a_param)
        intake = bounded_root(-torch.expm1(2 * log_a))
        return log_a.exp(), intake * self.input_gate(x).sigmoid() * x

    def _output(
        self, h: Float[Tensor, "... width"], u: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        return self.out_proj(h * F.gelu(self.linear_y(u), approximate="tanh"))


class BlockDiagonalLinear(nn.Module):
    """A linear map within each block of channels.

    Args:
        channels: number of channels.
        n_blocks: number of blocks.
    """

    def __init__(self, channels: int, n_blocks: int) -> None:
        super().__init__()
        block = channels // n_blocks
        self.weight = nn.Parameter(torch.randn(n_blocks, block, block) / math.sqrt(block))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "... channels"]) -> Float[Tensor, "... channels"]:
        """Apply the map to each block."""
        blocks = rearrange(x, "... (n i) -> ... n i", n=len(self.weight))
        y = einsum(blocks, self.weight, "... n i, n i j -> ... n j")
        return rearrange(y, "... n j -> ... (n j)") + self.bias
