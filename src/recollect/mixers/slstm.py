"""sLSTM, the layer of xLSTM with state-dependent gates (Beck et al., 2024, arXiv 2405.04517).

    c = SiLU(short convolution(x))
    i, f, z, o = c W_i, c W_f, x W_z, x W_o, each plus h_{t-1} R + b; maps have one block per head
    cell_t = sigmoid(f_t) cell_{t-1} + e^{i_t} tanh(z_t),   n_t = sigmoid(f_t) n_{t-1} + e^{i_t}
    h_t = sigmoid(o_t) cell_t / n_t
    y = norm of every head(h)

Initialisation is that of the authors' code: R starts at 0. So is weight decay: it spares R, biases
and the norm. Left out is the gated feed-forward of factor 1.3 that follows in the authors' block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.ops.xlstm import SLSTMState, slstm, slstm_start, slstm_step

CONV = 4
"""Width of the convolution."""


@register_mixer(
    "slstm", family="recurrent network", title="sLSTM", paper="2405.04517", year=2024, look=39
)
class SLSTM(nn.Module):
    """An LSTM with exponential input gates and heads.

    Args:
        d_model: width of input and state.
        layer_idx: index of the layer, which sets the initial forget gate.
        n_layers: depth of the model, which also sets the initial forget gate.
        n_heads: number of heads. The gates of a head see the input and the state of that head
            alone, and there is no output map. So heads do not mix: with several, add an MLP (the
            recipe's `mlp`). The authors' synthetic experiments have one head; their code's default
            is 4.

    Raises:
        UserError: if n_heads does not divide d_model.
    """

    numerics = 2

    def __init__(
        self, d_model: int, layer_idx: int = 0, n_layers: int = 1, *, n_heads: int = 1
    ) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        self.conv = ShortConv(d_model, CONV)
        self.gates = nn.Parameter(torch.empty(4, n_heads, head, head))
        nn.init.normal_(self.gates, std=math.sqrt(2 / (5 * d_model)))
        self.recurrent = nn.Parameter(torch.zeros(4, n_heads, head, head))
        self.bias = nn.Parameter(torch.zeros(4, n_heads, head))
        depth = layer_idx / max(1, n_layers - 1)
        rising = (torch.arange(head) / max(1, head - 1)) ** (0.3 + 1.3 * depth)
        with torch.no_grad():
            self.bias[1] = 5 - 12 * rising
        self.norm = nn.Parameter(torch.ones(d_model))
        keep_init(self)
        biases = (p for name, p in self.named_parameters() if name.endswith("bias"))
        no_decay(self.recurrent, self.norm, *biases)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the normed h at every position."""
        a = self._of_input(x, F.silu(self.conv(x)))
        return self._output(slstm(a, self.recurrent, self.bias))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: empty sums, and zeros for the convolution."""
        _, heads, head = self.bias.shape
        start = slstm_start(self.bias.new_zeros(batch_size, heads, head))
        names = ("h", "c", "n", "m")
        state = {name: z.clone() for name, z in zip(names, start, strict=True)}
        return state | {"conv": self.conv.initial_state(batch_size)}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: h, the sums, their exponent, and past inputs."""
        c, conv = self.conv.step(x_t, state["conv"])
        before = SLSTMState(state["h"], state["c"], state["n"], state["m"])
        after = slstm_step(self._of_input(x_t, F.silu(c)), self.recurrent, self.bias, before)
        return self._output(after.h), after._asdict() | {"conv": conv}

    def _of_input(
        self, x: Float[Tensor, "... d_model"], c: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... 4 heads head"]:
        """The input's part of the gates i, f, z and o."""
        both = torch.stack([c, c, x, x], dim=-2).unflatten(-1, self.bias.shape[1:])
        return einsum(both, self.gates, "... gate h i, gate h o i -> ... gate h o")

    def _output(self, h: Float[Tensor, "... heads head"]) -> Float[Tensor, "... d_model"]:
        return F.layer_norm(h, h.shape[-1:], eps=1e-5).flatten(-2) * self.norm
