"""minGRU and minLSTM: gates that depend only on the input (Feng et al., 2024, arXiv 2410.01201).

    g(a) = a + 1/2 for a >= 0, else sigmoid(a);   v = g(x W_h + b_h)
    minGRU     z = sigmoid(x W_z + b_z),          h_t = (1 - z_t) h_{t-1} + z_t v_t
    minLSTM    f, i = sigmoid(x W_f + b_f), sigmoid(x W_i + b_i)
               h_t = f_t / (f_t + i_t) h_{t-1} + i_t / (f_t + i_t) v_t
    y = h W_o + b_o

So the recurrence is a diagonal scan. g keeps states positive, because the authors compute with
their logarithms. Linear maps keep PyTorch's initialisation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init
from recollect.ops.diagonal import diagonal_scan, diagonal_scan_step


class MinimalRNN(nn.Module):
    """A diagonal scan between two linear maps.

    Args:
        d_model: width.
        expand: width of the state in multiples of d_model.
        n_gates: number of gates per channel.

    Raises:
        UserError: if expand is below 1.
    """

    def __init__(self, d_model: int, *, expand: int, n_gates: int) -> None:
        super().__init__()
        if expand < 1:
            raise UserError(f"expand={expand}: expected at least 1")
        self.parts = 1 + n_gates
        self.in_proj = nn.Linear(d_model, self.parts * expand * d_model)
        self.out_proj = nn.Linear(expand * d_model, d_model)
        keep_init(self)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        decay, intake, v = self._scan_inputs(x)
        return self.out_proj(diagonal_scan(decay, intake * v))

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch width"]:
        """Return the state before the first token: zeros."""
        return self.out_proj.weight.new_zeros(batch_size, self.out_proj.in_features)

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch d_model"], Float[Tensor, "batch width"]]:
        """Return one output and the new state h."""
        decay, intake, v_t = self._scan_inputs(x_t)
        state = diagonal_scan_step(decay, intake * v_t, state)
        return self.out_proj(state), state

    def shares(
        self, gates: list[Float[Tensor, "... width"]]
    ) -> tuple[Float[Tensor, "... width"], Float[Tensor, "... width"]]:
        """Return the weights of the old state and of v, from the logits of the gates."""
        raise NotImplementedError

    def _scan_inputs(self, x: Float[Tensor, "... d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        a, *gates = self.in_proj(x).chunk(self.parts, dim=-1)
        positive = torch.where(a >= 0, a + 0.5, a.sigmoid())
        return *self.shares(gates), positive


@register_mixer(
    "min-gru",
    family="diagonal scan",
    title="minGRU",
    paper="2410.01201",
    year=2024,
    look=27,
    looks_back=False,
)
class MinGRU(MinimalRNN):
    """A GRU without reset gate; its update gate does not depend on the state.

    Args:
        d_model: width.
        expand: width of the state in multiples of d_model.

    Raises:
        UserError: if expand is below 1.
    """

    def __init__(self, d_model: int, *, expand: int = 2) -> None:
        super().__init__(d_model, expand=expand, n_gates=1)

    def shares(
        self, gates: list[Float[Tensor, "... width"]]
    ) -> tuple[Float[Tensor, "... width"], Float[Tensor, "... width"]]:
        """Return 1 - z and z."""
        (z,) = gates
        return (-z).sigmoid(), z.sigmoid()


@register_mixer(
    "min-lstm",
    family="diagonal scan",
    title="minLSTM",
    paper="2410.01201",
    year=2024,
    look=28,
    looks_back=False,
)
class MinLSTM(MinimalRNN):
    """An LSTM without output gate; its gates sum to 1 and do not depend on the state.

    Args:
        d_model: width.
        expand: width of the state in multiples of d_model.

    Raises:
        UserError: if expand is below 1.
    """

    def __init__(self, d_model: int, *, expand: int = 2) -> None:
        super().__init__(d_model, expand=expand, n_gates=2)

    def shares(
        self, gates: list[Float[Tensor, "... width"]]
    ) -> tuple[Float[Tensor, "... width"], Float[Tensor, "... width"]]:
        """Return f / (f + i) = sigmoid(log f - log i), and i / (f + i)."""
        f, i = gates
        difference = F.logsigmoid(f) - F.logsigmoid(i)
        return difference.sigmoid(), (-difference).sigmoid()
