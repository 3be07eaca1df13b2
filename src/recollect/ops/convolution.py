"""Causal convolution of every channel with its own filter.

    y_t = sum over s in [0, min(K - 1, t)] of h_s u_{t-s}

It is the mixing of Hyena, H3, BaseConv and long convolutions, and the short convolution of many
recurrent mixers. Dimensions: L length of the input, K length of the filter (shorter or longer than
L). All leading dimensions broadcast.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from recollect.ops import forms
from recollect.ops.cost import declares, rows
from recollect.ops.mapped import mapped_first

LONGEST_SHIFTED = 16
"""Longest filter that is applied by shifted products; longer ones go through the FFT (measured on
one CPU core, forward and backward, 128 channels, shifts against FFT: 64 examples of 64 positions
take 5 against 10 ms at K = 16 and 8 against 8 at K = 32; 16 examples of 512 take 11 against 18 and
19 against 18)."""


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


@declares(lambda u, h: causal_conv_multiply_adds(u, h))
def causal_conv(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> Float[Tensor, "... L channels"]:
    """Convolve by shifted products if the filter is short, by FFT if it is long.

    A GPU may run the shifted products as one kernel (`forms.py`).
    The error of the FFT is relative to the largest output of a channel, not to each output.
    """
    h = h[..., : u.shape[-2], :]
    if h.shape[-2] > LONGEST_SHIFTED:
        return _by_fft(u, h)
    if forms.form_for(u, h) == "triton":
        from recollect.ops._triton_shifts import fused_shifts  # Triton may not be installed

        return fused_shifts(u, h)
    shifted: Tensor = _Shifts.apply(u, h, False)  # type: ignore[no-untyped-call]
    return shifted


def causal_conv_step(
    u_t: Float[Tensor, "... channels"],
    h: Float[Tensor, "... K channels"],
    past: Float[Tensor, "... n channels"],
) -> tuple[Float[Tensor, "... channels"], Float[Tensor, "... m channels"]]:
    """Return one output, and the past inputs for the next step.

    Args:
        u_t: the next input.
        h: the filter.
        past: the previous K - 1 inputs, oldest first; at the start of a sequence zeros, or fewer.
    """
    recent = torch.cat([past, u_t[..., None, :]], dim=-2)
    y_t = (h[..., : recent.shape[-2], :].flip(-2) * recent).sum(-2)
    if recent.shape[-2] < h.shape[-2]:
        return y_t, recent
    return y_t, recent[..., 1:, :].clone()  # a view would keep the dropped input alive


def causal_conv_multiply_adds(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> int:
    """Multiply-adds of `causal_conv`; its FFT transforms each input and each filter once.

    A real FFT of n points counts as 5/4 n log2 n multiply-adds, the usual estimate.
    """
    length, channels = u.shape[-2:]
    taps, outputs = min(h.shape[-2], length), rows(u, h)
    if taps <= LONGEST_SHIFTED:
        return outputs * length * taps * channels
    points = fast_fft_length(length + taps - 1)
    transforms = (rows(u) + rows(h) + outputs) * 5 * points * math.log2(points) / 4
    complex_products = outputs * 4 * (points // 2 + 1)
    return channels * round(transforms + complex_products)


def fast_fft_length(at_least: int) -> int:
    """The smallest even number >= `at_least` with no prime factor above 5."""
    n = at_least + at_least % 2
    while not _is_smooth(n):
        n += 2
    return n


class _Shifts(torch.autograd.Function):
    """The sum of shifted products, accumulated in place.

    Autograd of the single terms would allocate a tensor of the input's size for each tap. The
    filter is at most as long as the input. With `backwards`, the input is shifted to earlier
    positions, as its gradient requires.
    """

    @staticmethod
    def forward(u: Tensor, h: Tensor, backwards: bool) -> Tensor:
        y = h[..., :1, :] * u
        for s in range(1, h.shape[-2]):
            tap = h[..., s : s + 1, :]
            if backwards:
                y[..., :-s, :].addcmul_(tap, u[..., s:, :])
            else:
                y[..., s:, :].addcmul_(tap, u[..., :-s, :])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], _: Tensor) -> None:
        u, h, ctx.backwards = inputs
        ctx.save_for_backward(u, h)

    @staticmethod
    def backward(ctx: Any, by_y: Tensor) -> tuple[Tensor, Tensor, None]:
        u, h = ctx.saved_tensors
        by_u: Tensor = _Shifts.apply(by_y, h, not ctx.backwards)  # type: ignore[no-untyped-call]
        early, late = (by_y, u) if ctx.backwards else (u, by_y)
        length, one_tap = u.shape[-2], h[..., :1, :].shape
        by_h = [
            _sum_to(early.narrow(-2, 0, length - s) * late.narrow(-2, s, length - s), one_tap)
            for s in range(h.shape[-2])
        ]
        return _sum_to(by_u, u.shape), torch.cat(by_h, dim=-2), None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, int | None, None],
        u: Tensor,
        h: Tensor,
        backwards: bool,
    ) -> tuple[Tensor, int]:
        """Move the mapped dimension first, where it broadcasts like any other."""
        u, h = mapped_first(info.batch_size, in_dims[:2], (u, h))
        dims = max(u.dim(), h.dim())
        u, h = (x.reshape(len(x), *(dims - x.dim()) * [1], *x.shape[1:]) for x in (u, h))
        return _Shifts.apply(u, h, backwards), 0  # type: ignore[no-untyped-call]


def _sum_to(x: Tensor, shape: torch.Size) -> Tensor:
    """Undo broadcasting. For equal shapes `sum_to_size` makes a view, which old vmap rejects."""
    return x if x.shape == shape else x.sum_to_size(shape)


def _by_fft(
    u: Float[Tensor, "... L channels"], h: Float[Tensor, "... K channels"]
) -> Float[Tensor, "... L channels"]:
    if forms.form_for(u, h) != "cpu":
        y: Tensor = _ProductOfSpectra.apply(u, h)[0]  # type: ignore[no-untyped-call]
        return y
    n = _points(u, h)
    spectrum = _spectrum(u, n) * _spectrum(h, n)
    return torch.fft.irfft(spectrum, n=n)[..., : u.shape[-2]].mT


class _ProductOfSpectra(torch.autograd.Function):
    """The convolution by FFT with a gradient of its own, from the saved spectra.

    Autograd takes more launches: it transforms both halves of each spectrum.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = _points(u, h)
        of_u, of_h = _padded_spectrum(u, n), _padded_spectrum(h, n)
        return torch.fft.irfft(of_u * of_h, n=n)[..., : u.shape[-2]].mT, of_u, of_h

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.shapes = [x.shape for x in inputs]
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_y: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        n = fast_fft_length(sum(shape[-2] for shape in ctx.shapes) - 1)
        of_u, of_h = ctx.saved_tensors
        of_y = _padded_spectrum(by_y, n)
        by_u, by_h = (
            torch.fft.irfft(_sum_to(of_y * other.conj(), own.shape), n=n)[..., : shape[-2]].mT
            for own, other, shape in zip((of_u, of_h), (of_h, of_u), ctx.shapes, strict=True)
        )
        return by_u, by_h


def _points(u: Tensor, h: Tensor) -> int:
    """Return a length of the FFT so that the end does not wrap around."""
    return fast_fft_length(u.shape[-2] + h.shape[-2] - 1)


def _spectrum(x: Float[Tensor, "... L channels"], n: int) -> Complex[Tensor, "... channels points"]:
    """Transform with time last: contiguous rows take 0.6 of the time of strided ones."""
    return torch.fft.rfft(x.mT.contiguous(), n=n)


def _padded_spectrum(
    x: Float[Tensor, "... L channels"], n: int
) -> Complex[Tensor, "... channels points"]:
    """Compute the same with one copy instead of two."""
    padded = x.new_zeros(*x.mT.shape[:-1], n)
    padded[..., : x.shape[-2]] = x.mT
    return torch.fft.rfft(padded)


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1
