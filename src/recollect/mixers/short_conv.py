"""The short convolution: a few learned taps per channel.

It acts on the input of a mixer (the recipe's `short_conv`) or on its queries, keys and values.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.ops.convolution import causal_conv, causal_conv_step


class ShortConv(nn.Module):
    """A causal depthwise convolution, initialised like PyTorch's `Conv1d`.

    Args:
        channels: number of channels, each with its own filter.
        width: number of taps; `weight[s]` acts on the input s positions back.
        bias: whether each channel has a bias.

    Raises:
        UserError: if width is below 1.
    """

    def __init__(self, channels: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"a short convolution of width {width}: expected at least 1")
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(width, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Float[Tensor, "batch L channels"]) -> Float[Tensor, "batch L channels"]:
        """Return the output at every position."""
        return self._biased(causal_conv(x, self.weight))

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch past channels"]:
        """Return the width - 1 inputs before the first one: zeros."""
        width, channels = self.weight.shape
        return self.weight.new_zeros(batch_size, width - 1, channels)

    def step(
        self, x_t: Float[Tensor, "batch channels"], state: Float[Tensor, "batch past channels"]
    ) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch past channels"]]:
        """Return one output and the new state, the last width - 1 inputs."""
        y_t, state = causal_conv_step(x_t, self.weight, state)
        return self._biased(y_t), state

    def _biased(self, y: Float[Tensor, "... channels"]) -> Float[Tensor, "... channels"]:
        return y if self.bias is None else y + self.bias
