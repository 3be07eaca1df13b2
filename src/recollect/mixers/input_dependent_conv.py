"""BaseConv with an input-dependent filter (Arora et al., 2023, arXiv 2312.04927, section 4).

    y = (u W + b1) * (c + b2) + u
    c_t = sum over j < K of h_j u_{p + j},   p the last earlier position with the token of t

Zoology shows that such filters solve recall with a number of layers that does not grow with length:
the value of a key is at p + 1. Zoology takes the shifts from the auto-correlation of the whole
input; here they depend on the past only.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.ops.occurrence import (
    occurrence_conv,
    occurrence_conv_step,
    previous_occurrence,
    previous_occurrence_step,
)


@register_mixer(
    "input-dependent-conv",
    family="convolution",
    title="Input-dependent BaseConv",
    paper="2312.04927",
    year=2023,
    look=19,
)
class InputDependentConv(nn.Module):
    """A linear map gated by the inputs at and after the previous occurrence of the token.

    Args:
        d_model: width.
        kernel_size: number of taps, from the previous occurrence on.
        filler: a token that counts as never having occurred; None: no such token. A model sets it
            to the task's filler if it is not set.

    Raises:
        UserError: if kernel_size is below 1.
    """

    def __init__(self, d_model: int, *, kernel_size: int = 3, filler: int | None = None) -> None:
        super().__init__()
        if kernel_size < 1:
            raise UserError(f"kernel_size={kernel_size}: expected at least 1")
        self.filler = filler
        bound = 1 / math.sqrt(kernel_size)  # as in BaseConv
        self.filter = nn.Parameter(torch.empty(kernel_size, d_model).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(d_model).uniform_(-bound, bound))
        self.projection = nn.Linear(d_model, d_model)

    def forward(
        self, x: Float[Tensor, "batch L d_model"], tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        conv = occurrence_conv(x, self.filter, previous_occurrence(tokens, self.filler))
        return self.projection(x) * (conv + self.bias) + x

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no inputs and tokens."""
        none_yet = self.filter.new_zeros(batch_size, 0, self.filter.shape[1])
        return {"inputs": none_yet, "tokens": none_yet[..., 0].long()}

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: dict[str, Any],
        token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: all inputs and tokens so far."""
        inputs = torch.cat([state["inputs"], x_t[:, None]], dim=1)
        tokens = torch.cat([state["tokens"], token[:, None]], dim=1)
        previous = previous_occurrence_step(token, state["tokens"], self.filler)
        conv = occurrence_conv_step(inputs, self.filter, previous)
        y_t = self.projection(x_t) * (conv + self.bias) + x_t
        return y_t, {"inputs": inputs, "tokens": tokens}
