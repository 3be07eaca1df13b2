"""Hyena of order 2 (Poli et al., 2023, arXiv 2302.10866).

    x1, x2, v = short convolutions of linear maps of u
    y = W (x2 * (h conv (x1 * v) + bias x1 * v))

The filter h is as long as the sequence and implicit: its taps are a network with sine activations,
applied to time, times an exponential decay with a different rate for each channel.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.long_conv import LongFilter, time_features
from recollect.mixers.marks import no_decay
from recollect.mixers.short_conv import ShortConv


@register_mixer("hyena", family="convolution", title="Hyena", paper="2302.10866", year=2023, look=2)
class Hyena(nn.Module):
    """Two gates around a short and a long convolution.

    As in the authors' code, weight decay does not act on the filter. The authors also train the
    filter with a learning rate of its own; this recipe, like the papers on recall, does not. Time
    features beyond the trained length are not trained (`mixers.length_weights`).

    Args:
        d_model: width.
        max_len: longest length, in tokens; the filter's time runs from 0 to 1 over it.
        filter_order: width of the network that computes the filter.
        short_filter_order: width of the short convolution.
        emb_dim: number of time features that the network reads, odd; 3 in the papers on recall, 33
            in Hyena's language models.
        sine_frequency: initial value of the trained frequencies of the sine activations; 1 in the
            papers on recall, 14 in Hyena's language models.

    Raises:
        UserError: if a width is below 1, or emb_dim is even or below 3.
    """

    def __init__(
        self,
        d_model: int,
        max_len: int,
        *,
        filter_order: int = 64,
        short_filter_order: int = 3,
        emb_dim: int = 3,
        sine_frequency: float = 1.0,
    ) -> None:
        super().__init__()
        if filter_order < 1:
            raise UserError(f"filter_order={filter_order}: expected at least 1")
        self.in_proj = nn.Linear(d_model, 3 * d_model)
        self.short_filter = ShortConv(3 * d_model, short_filter_order)
        self.long_filter = HyenaFilter(d_model, max_len, filter_order, emb_dim, sine_frequency)
        no_decay(self.long_filter)
        self.bias = nn.Parameter(torch.randn(d_model))
        self.out_proj = nn.Linear(d_model, d_model)

    @staticmethod
    def length_weights(length: int, **_options: Any) -> int:
        """Return the number of taps with time features in a sequence of `length` tokens."""
        return length

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        x1, x2, v = self.short_filter(self.in_proj(x)).chunk(3, dim=-1)
        u = x1 * v
        return self.out_proj(x2 * (self.long_filter(u) + self.bias * u))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the initial states of both convolutions."""
        return {
            "short": self.short_filter.initial_state(batch_size),
            "long": self.long_filter.initial_state(batch_size),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: past inputs of both convolutions."""
        projected, short = self.short_filter.step(self.in_proj(x_t), state["short"])
        x1, x2, v = projected.chunk(3, dim=-1)
        u_t = x1 * v
        y_t, long = self.long_filter.step(u_t, state["long"])
        return self.out_proj(x2 * (y_t + self.bias * u_t)), {"short": short, "long": long}


class HyenaFilter(LongFilter):
    """The implicit filter of Hyena.

    Args:
        channels: number of channels.
        max_len: number of taps.
        width: width of the network's hidden layers.
        emb_dim: number of time features, which are trained too.
        sine_frequency: initial value of the frequencies of the sine activations.
    """

    deltas: Tensor
    time: Tensor

    def __init__(
        self, channels: int, max_len: int, width: int, emb_dim: int, sine_frequency: float
    ) -> None:
        super().__init__(channels, max_len)
        self.z = nn.Parameter(time_features(max_len, emb_dim))
        self.hidden = nn.ModuleList(nn.Linear(inputs, width) for inputs in (emb_dim, width, width))
        self.freq = nn.Parameter(torch.full((width,), float(sine_frequency)))
        self.last = nn.Linear(width, channels, bias=False)
        # the decay reaches 1 % at 1.5 (first channel) to 0.3 (last channel) times the length
        deltas = torch.linspace(-math.log(0.01) / 1.5, -math.log(0.01) / 0.3, channels)
        self.register_buffer("deltas", deltas, persistent=False)
        self.register_buffer("time", torch.linspace(0, 1, max_len)[:, None], persistent=False)

    def taps(self, length: int) -> Float[Tensor, "length channels"]:
        """Return the first `length` taps; all layers share the sine frequencies."""
        x = self.z[:length]
        for layer in self.hidden:
            x = torch.sin(self.freq * layer(x))
        return self.last(x) * torch.exp(-self.time[:length] * self.deltas)
