"""GRU and LSTM, the classical recurrent baselines, as in `torch.nn`.

    GRU     h_t = (1 - z_t) n_t + z_t h_{t-1},   n_t = tanh(W_n x_t + b_n + r_t (U_n h_{t-1} + c_n))
    LSTM    cell_t = f_t cell_{t-1} + i_t g_t,   h_t = o_t tanh(cell_t)

The output is h, of width d_model. Equations, the order of the gates and initialisation are those of
`torch.nn.GRU` and `torch.nn.LSTM` with one layer. PyTorch's classes cannot train as a population,
so `ops.recurrent` has its own recurrence.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init
from recollect.ops.recurrent import gru, gru_step, lstm, lstm_step


class RecurrentNetwork(nn.Module):
    """The weights of a recurrent network, with PyTorch's names.

    Args:
        d_model: width of input and state.
        n_gates: number of gates per channel, including the candidate.
    """

    def __init__(self, d_model: int, *, n_gates: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_model)

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

        self.weight_ih_l0 = uniform(n_gates * d_model, d_model)
        self.weight_hh_l0 = uniform(n_gates * d_model, d_model)
        self.bias_ih_l0 = uniform(n_gates * d_model)
        self.bias_hh_l0 = uniform(n_gates * d_model)
        keep_init(self)

    def of_input(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... gates"]:
        """Return the input's part of the gates."""
        return nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)

    def nothing(self, batch_size: int) -> Float[Tensor, "batch d_model"]:
        """Return a state of zeros."""
        return self.weight_hh_l0.new_zeros(batch_size, self.weight_hh_l0.shape[1])


@register_mixer(
    "gru", family="recurrent network", title="GRU", paper="1406.1078", year=2014, look=29
)
class GRU(RecurrentNetwork):
    """A gated recurrent unit (Cho et al., 2014, arXiv 1406.1078).

    Args:
        d_model: width of input and state.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, n_gates=3)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the state h at every position."""
        return gru(self.of_input(x), self.weight_hh_l0, self.bias_hh_l0)

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch d_model"]:
        """Return the state before the first token: zeros."""
        return self.nothing(batch_size)

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: Float[Tensor, "batch d_model"]
    ) -> tuple[Float[Tensor, "batch d_model"], Float[Tensor, "batch d_model"]]:
        """Return one output and the new state, which are the same."""
        state = gru_step(self.of_input(x_t), self.weight_hh_l0, self.bias_hh_l0, state)
        return state, state


@register_mixer(
    "lstm", family="recurrent network", title="LSTM", paper="1503.04069", year=1997, look=30
)
class LSTM(RecurrentNetwork):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997) with a forget gate.

    The arXiv id is that of a study of its variants (Greff et al., 2015).

    Args:
        d_model: width of input and state.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, n_gates=4)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return h at every position."""
        return lstm(self.of_input(x), self.weight_hh_l0, self.bias_hh_l0)

    def initial_state(self, batch_size: int) -> dict[str, Float[Tensor, "batch d_model"]]:
        """Return the state before the first token: zeros."""
        return {"h": self.nothing(batch_size), "cell": self.nothing(batch_size)}

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: dict[str, Float[Tensor, "batch d_model"]],
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Float[Tensor, "batch d_model"]]]:
        """Return one output and the new state: h and the cell."""
        h, cell = lstm_step(
            self.of_input(x_t), self.weight_hh_l0, self.bias_hh_l0, state["h"], state["cell"]
        )
        return h, {"h": h, "cell": cell}
