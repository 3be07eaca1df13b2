"""BaseConv, the minimal gated convolution (Arora et al., 2023, arXiv 2312.04927).

    y = (u W + b1) * (h conv u + b2) + u

The paper has no `+ u`; this mixer follows the paper's public code, which has it. For a full-length
convolution, that code also adds `u` to the convolution's output and has no b2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.long_conv import LongFilter, time_features
from recollect.mixers.short_conv import ShortConv

HIDDEN = 16
"""Width of the MLP that computes a filter over the whole length."""


@register_mixer(
    "base-conv", family="convolution", title="BaseConv", paper="2312.04927", year=2023, look=3
)
class BaseConv(nn.Module):
    """A linear map gated by a convolution.

    Args:
        d_model: width.
        max_len: longest length, in tokens.
        layer_idx: index of the layer, from 0.
        kernel_size: width of the convolution, or "full" for a filter over the whole length, which
            an MLP computes from time; a list has one size per layer and repeats.

    Raises:
        UserError: if a kernel size is neither "full" nor at least 1.
    """

    def __init__(
        self,
        d_model: int,
        max_len: int,
        layer_idx: int = 0,
        *,
        kernel_size: int | str | Sequence[int | str] = (3, "full"),
    ) -> None:
        super().__init__()
        sizes = [kernel_size] if isinstance(kernel_size, int | str) else list(kernel_size)
        for size in sizes:
            if size != "full" and not (isinstance(size, int) and size >= 1):
                raise UserError(f"kernel_size={size!r}: expected 'full', or a width of at least 1")
        if not sizes:
            raise UserError("kernel_size=[]: expected at least one size")
        size = sizes[layer_idx % len(sizes)]
        self.conv = (
            ImplicitConv(d_model, max_len) if size == "full" else ShortConv(d_model, int(size))
        )
        self.projection = nn.Linear(d_model, d_model)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        return self.conv(x) * self.projection(x) + x

    def initial_state(self, batch_size: int) -> Any:
        """Return the initial state of the convolution."""
        return self.conv.initial_state(batch_size)

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: Any
    ) -> tuple[Float[Tensor, "batch d_model"], Any]:
        """Return one output and the new state: the inputs that the convolution still reaches."""
        y_t, state = self.conv.step(x_t, state)
        return y_t * self.projection(x_t) + x_t, state


class ImplicitConv(LongFilter):
    """The input plus its convolution with an implicit filter, computed by an MLP from time.

    Args:
        channels: number of channels.
        max_len: longest length, in tokens.
    """

    features: Tensor

    def __init__(self, channels: int, max_len: int) -> None:
        super().__init__(channels, max_len)
        self.register_buffer("features", time_features(max_len, 3), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(3, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, channels))

    def taps(self, length: int) -> Float[Tensor, "length channels"]:
        """Return the filter, with 1 added at lag 0 to add the input to the output."""
        filter = self.mlp(self.features[:length])
        identity = torch.zeros_like(filter)
        identity[0] = 1
        return filter + identity
