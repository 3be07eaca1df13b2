"""The classical recurrent networks GRU and LSTM.

Their gates depend on the state, so the recurrence is the only form. A GPU may run it as one kernel
(`forms.py`). Equations and the order of the gates follow `torch.nn`.

    GRU     r, z = sigmoid(a^r + U_r h_{t-1} + c_r), sigmoid(a^z + U_z h_{t-1} + c_z)
            n = tanh(a^n + r (U_n h_{t-1} + c_n)),   h_t = (1 - z) n + z h_{t-1}
    LSTM    i, f, g, o = a + U h_{t-1} + c, with a sigmoid on i, f and o, and tanh on g
            cell_t = f cell_{t-1} + i g,             h_t = o tanh(cell_t)

(Cho et al., 2014, arXiv 1406.1078; Hochreiter and Schmidhuber, 1997.) a is the input's part of the
gates. Dimensions: L length, h width of the state, gates 3 h (GRU) or 4 h (LSTM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms
from recollect.ops.cost import declares, rows

if TYPE_CHECKING:  # Triton may not be installed
    from recollect.ops._triton_recurrent import Cell


@declares(lambda a, weight: rows(a) * gru_multiply_adds(a.shape[-2], weight.shape[-1]))
def gru(
    a: Float[Tensor, "... L gates"], weight: Float[Tensor, "gates h"], bias: Float[Tensor, " gates"]
) -> Float[Tensor, "... L h"]:
    """Return the state at every position, starting from zeros.

    Args:
        a: the input's part of the gates r, z and n.
        weight: U.
        bias: c.
    """
    if forms.form_for_memory(weight.shape[-1], weight.shape[-1], a, weight, bias) == "triton":
        from recollect.ops._triton_recurrent import GRU  # Triton may not be installed

        return _by_kernel(GRU, a, weight, bias)
    state, states = a.new_zeros(*a.shape[:-2], weight.shape[-1]), []
    for a_t in a.unbind(-2):
        state = gru_step(a_t, weight, bias, state)
        states.append(state)
    return torch.stack(states, dim=-2)


def gru_step(
    a_t: Float[Tensor, "... gates"],
    weight: Float[Tensor, "gates h"],
    bias: Float[Tensor, " gates"],
    state: Float[Tensor, "... h"],
) -> Float[Tensor, "... h"]:
    """Return the state after one position; arguments as in `gru`."""
    a_r, a_z, a_n = a_t.chunk(3, dim=-1)
    b_r, b_z, b_n = (state @ weight.mT + bias).chunk(3, dim=-1)
    n = (a_n + (a_r + b_r).sigmoid() * b_n).tanh()
    return torch.lerp(n, state, (a_z + b_z).sigmoid())


def gru_multiply_adds(length: int, width: int) -> int:
    """Multiply-adds of the matrix products with the state, for one sequence."""
    return 3 * length * width**2


@declares(lambda a, weight: rows(a) * lstm_multiply_adds(a.shape[-2], weight.shape[-1]))
def lstm(
    a: Float[Tensor, "... L gates"], weight: Float[Tensor, "gates h"], bias: Float[Tensor, " gates"]
) -> Float[Tensor, "... L h"]:
    """Return h at every position, starting from zeros.

    Args:
        a: the input's part of the gates i, f, g and o.
        weight: U.
        bias: c.
    """
    if forms.form_for_memory(weight.shape[-1], weight.shape[-1], a, weight, bias) == "triton":
        from recollect.ops._triton_recurrent import LSTM  # Triton may not be installed

        return _by_kernel(LSTM, a, weight, bias)
    state = cell = a.new_zeros(*a.shape[:-2], weight.shape[-1])
    states = []
    for a_t in a.unbind(-2):
        state, cell = lstm_step(a_t, weight, bias, state, cell)
        states.append(state)
    return torch.stack(states, dim=-2)


def lstm_step(
    a_t: Float[Tensor, "... gates"],
    weight: Float[Tensor, "gates h"],
    bias: Float[Tensor, " gates"],
    state: Float[Tensor, "... h"],
    cell: Float[Tensor, "... h"],
) -> tuple[Float[Tensor, "... h"], Float[Tensor, "... h"]]:
    """Return h and the cell after one position; arguments as in `lstm`."""
    i, f, g, o = (a_t + state @ weight.mT + bias).chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def lstm_multiply_adds(length: int, width: int) -> int:
    """Multiply-adds of the matrix products with the state, for one sequence."""
    return 4 * length * width**2


def _by_kernel(
    cell: Cell,
    a: Float[Tensor, "... L gates"],
    weight: Float[Tensor, "gates h"],
    bias: Float[Tensor, " gates"],
) -> Float[Tensor, "... L h"]:
    h = cell.states(a.reshape(1, -1, *a.shape[-2:]), weight[None], bias[None])
    return h.reshape(*a.shape[:-1], -1)
