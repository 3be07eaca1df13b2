"""Causal convolution of every channel with a filter of its own.

    y_t = sum over s in [0, min(K - 1, t)] of h_s u_{t-s}

The mixing of Hyena, H3, BaseConv and long convolutions, and the short convolution beside many a
recurrence. Letters: L length of the input, K length of the filter (shorter or longer than L).
All leading dimensions broadcast.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops.cost import declares, rows

LONGEST_SHIFTED = 6
"""Longest filter that shifted products apply; above it the FFT is faster (measured on one CPU core,
forward and backward, L 64 to 512: 18 against 28 ms at K = 4, 38 against 30 ms at K = 8)."""


def causal_conv_definition(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> Float[Tensor, "... L channels"]:
    """The sum above, term by term."""
    length, taps = u.shape[-2], h.shape[-2]
    outputs = []
    for t in range(length):
        terms = [h[..., s, :] * u[..., t - s, :] for s in range(min(taps, t + 1))]
        outputs.append(torch.stack(terms).sum(0))
    return torch.stack(outputs, dim=-2)


@declares(
    lambda u, h: rows(u, h) * causal_conv_multiply_adds(u.shape[-2], h.shape[-2], u.shape[-1])
)
def causal_conv(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> Float[Tensor, "... L channels"]:
    """The same by shifted products where the filter is short, by FFT where it is long.

    The error of the FFT is relative to the largest output of a channel, not to each output.
    """
    h = h[..., : u.shape[-2], :]
    return _by_shifts(u, h) if h.shape[-2] <= LONGEST_SHIFTED else _by_fft(u, h)


def causal_conv_step(
    u_t: Float[Tensor, "... channels"],
    h: Float[Tensor, "... K channels"],
    past: Float[Tensor, "... n channels"],
) -> tuple[Float[Tensor, "... channels"], Float[Tensor, "... m channels"]]:
    """One output, and the inputs that later ones need.

    Args:
        u_t: the next input.
        h: the filter.
        past: the K - 1 inputs before it, oldest first: zeros, or fewer, where a sequence begins.
    """
    recent = torch.cat([past, u_t[..., None, :]], dim=-2)
    y_t = (h[..., : recent.shape[-2], :].flip(-2) * recent).sum(-2)
    if recent.shape[-2] < h.shape[-2]:
        return y_t, recent
    return y_t, recent[..., 1:, :].clone()  # a view would hold on to what is forgotten


def causal_conv_multiply_adds(length: int, taps: int, channels: int) -> int:
    """Multiply-adds of `causal_conv` for one sequence, its filter's own transform included.

    A real FFT of n points is taken as 5/4 n log2 n multiply-adds, the usual count.
    """
    taps = min(taps, length)
    if taps <= LONGEST_SHIFTED:
        return length * taps * channels
    points = fast_fft_length(length + taps - 1)
    transform = 5 * points * math.log2(points) / 4
    complex_products = 4 * (points // 2 + 1)
    return channels * round(3 * transform + complex_products)


def fast_fft_length(at_least: int) -> int:
    """The smallest even number >= `at_least` with no prime factor above 5."""
    n = at_least + at_least % 2
    while not _is_smooth(n):
        n += 2
    return n


def _by_shifts(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> Float[Tensor, "... L channels"]:
    length, taps = u.shape[-2], h.shape[-2]
    padded = F.pad(u, (0, 0, taps - 1, 0))
    y = h[..., :1, :] * u
    for s in range(1, taps):
        start = taps - 1 - s
        y = torch.addcmul(y, h[..., s : s + 1, :], padded[..., start : start + length, :])
    return y


def _by_fft(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> Float[Tensor, "... L channels"]:
    length = u.shape[-2]
    n = fast_fft_length(length + h.shape[-2] - 1)  # so long that the end does not wrap to the start
    # time last: transforms of contiguous rows take 0.6 of the time of strided ones
    spectrum = torch.fft.rfft(u.mT.contiguous(), n=n) * torch.fft.rfft(h.mT.contiguous(), n=n)
    return torch.fft.irfft(spectrum, n=n)[..., :length].mT


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1
