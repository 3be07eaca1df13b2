"""Convolutions as long as the sequence, and the simplest mixer with one.

`LongFilter` is the base of the filters of BaseConv and Hyena. `LongConv` is the long convolution of
Fu et al. (2023, arXiv 2302.06646), the ungated baseline of Zoology:

    y = GLU(W gelu(h * u + D u))

with an explicit filter; taps below a threshold are set to zero.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import no_decay
from recollect.ops.convolution import causal_conv, causal_conv_step


class LongFilter(nn.Module):
    """A convolution with a filter as long as the longest sequence; subclasses define its taps.

    Args:
        channels: number of channels.
        max_len: longest length, in tokens.
    """

    def __init__(self, channels: int, max_len: int) -> None:
        super().__init__()
        self.channels, self.max_len = channels, max_len

    def taps(self, length: int) -> Float[Tensor, "length channels"]:
        """Return the first `length` taps of every channel."""
        raise NotImplementedError

    def forward(self, u: Float[Tensor, "batch L channels"]) -> Float[Tensor, "batch L channels"]:
        """Convolve a sequence with the filter.

        Raises:
            UserError: if the sequence is longer than `max_len`.
        """
        self._check(u.shape[1])
        return causal_conv(u, self.taps(u.shape[1]))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no inputs, position 0."""
        none_yet = next(self.parameters()).new_zeros(batch_size, 0, self.channels)
        return {"position": 0, "past": none_yet}

    def step(
        self, u_t: Float[Tensor, "batch channels"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch channels"], dict[str, Any]]:
        """Return one output and the new state, all inputs so far.

        Raises:
            UserError: if `max_len` tokens were read before.
        """
        self._check(state["position"] + 1)
        y_t, past = causal_conv_step(u_t, self.taps(self.max_len), state["past"])
        return y_t, {"position": state["position"] + 1, "past": past}

    def _check(self, length: int) -> None:
        if length > self.max_len:
            raise UserError(
                f"a sequence of {length} tokens, but the filter was built for {self.max_len};"
                " build the model with a larger max_len"
            )


class SquashedFilter(LongFilter):
    """An explicit filter whose small taps are set to zero (the squash operator of Fu et al.).

    As in the authors' code, taps start random and decay with the lag, slowly in the first channel
    and fast in the last.

    Args:
        channels: number of channels.
        max_len: number of taps.
        threshold: taps up to this size become 0; larger ones shrink by it.
    """

    def __init__(self, channels: int, max_len: int, threshold: float) -> None:
        super().__init__(channels, max_len)
        self.threshold = threshold
        lag = torch.arange(max_len)[:, None] / max_len
        decay = torch.exp(-lag * (channels / 2) ** (torch.arange(channels) / channels))
        self.kernel = nn.Parameter(0.02 * torch.randn(max_len, channels) * decay)

    def taps(self, length: int) -> Float[Tensor, "length channels"]:
        """Return the first `length` squashed taps."""
        return F.softshrink(self.kernel[:length], self.threshold)


@register_mixer(
    "long-conv",
    family="convolution",
    title="Long convolution",
    paper="2302.06646",
    year=2023,
    look=4,
    looks_back=False,
)
class LongConv(nn.Module):
    """A long convolution, then a gated linear unit at each position.

    Taps beyond the trained length are not trained (`mixers.length_weights`).

    Args:
        d_model: width.
        max_len: longest length, in tokens.
        squash: threshold below which a tap of the filter is zero.

    Raises:
        UserError: if squash is negative.
    """

    def __init__(self, d_model: int, max_len: int, *, squash: float = 0.003) -> None:
        super().__init__()
        if squash < 0:
            raise UserError(f"squash={squash}: expected a threshold of at least 0")
        self.conv = SquashedFilter(d_model, max_len, squash)
        no_decay(self.conv)
        self.D = nn.Parameter(torch.randn(d_model))
        self.out_proj = nn.Linear(d_model, 2 * d_model)

    @staticmethod
    def length_weights(length: int, **_options: Any) -> int:
        """Return the number of taps that act in a sequence of `length` tokens."""
        return length

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        return self._mix_channels(self.conv(x), x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the initial state of the convolution."""
        return self.conv.initial_state(batch_size)

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state, all inputs so far."""
        y_t, state = self.conv.step(x_t, state)
        return self._mix_channels(y_t, x_t), state

    def _mix_channels(
        self, y: Float[Tensor, "... d_model"], x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        return F.glu(self.out_proj(F.gelu(y + self.D * x)))


def time_features(max_len: int, width: int) -> Float[Tensor, "max_len width"]:
    """Return the inputs of an implicit filter: the time from 0 to 1, and cosines and sines of it.

    The (width - 1) / 2 frequencies lie between 1e-4 and (width - 1) / 2 - 1 periods per `max_len`
    positions, as in the code of Hyena and Zoology.

    Raises:
        UserError: if width is even or below 3.
    """
    if width < 3 or width % 2 == 0:
        raise UserError(f"{width} time features: expected an odd number of at least 3")
    waves = (width - 1) // 2
    turns = 2 * math.pi * torch.arange(max_len)[:, None] / max_len
    phases = turns * torch.linspace(1e-4, waves - 1, waves)
    time = torch.linspace(0, 1, max_len)[:, None]
    return torch.cat([time, phases.cos(), -phases.sin()], dim=-1)
