"""The Canon layer (Allen-Zhu, 2025, arXiv 2512.17351): neighbours added to each position.

    y_t = x_t + w_0 x_t + w_1 x_{t-1} + w_2 x_{t-2} + w_3 x_{t-3}        in every channel

Four taps, no bias and no activation, started as PyTorch starts a `Conv1d`, as in the author's code.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from recollect.mixers.short_conv import ShortConv

WIDTH = 4


class Canon(ShortConv):
    """A short convolution whose input is added to its output.

    Args:
        channels: number of channels, each with a filter of its own.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, WIDTH, bias=False)

    def forward(self, x: Float[Tensor, "batch L channels"]) -> Float[Tensor, "batch L channels"]:
        """Each position from itself and the three before it."""
        return x + super().forward(x)

    def step(
        self, x_t: Float[Tensor, "batch channels"], state: Float[Tensor, "batch past channels"]
    ) -> tuple[Float[Tensor, "batch channels"], Float[Tensor, "batch past channels"]]:
        """One position; the state is the last three inputs."""
        y_t, state = super().step(x_t, state)
        return x_t + y_t, state
