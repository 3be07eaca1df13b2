"""The type in which a mixer is judged, and which differences count as rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.referee.verdict import Misbehaviour

SINGLE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Precision:
    """How outputs are compared.

    Attributes:
        dtype: of inputs and weights.
        tolerance: the error that counts as none, relative to the outputs that are compared.
        rounding: likewise, relative to the largest output of the sequence: an FFT, say, rounds
            every output by the largest one.
        reason: why it is not float64.
    """

    dtype: torch.dtype
    tolerance: float
    rounding: float
    reason: str = ""

    @property
    def coarse(self) -> bool:
        """Whether it is half precision, under whose rounding much may hide."""
        return self.tolerance > SINGLE_TOLERANCE

    def least_scale(self, outputs: Tensor) -> float:
        """By which a difference is divided at least, so that `tolerance` allows for `rounding`."""
        largest = outputs.detach().nan_to_num(0, 0, 0).abs().max().item()
        return self.rounding / self.tolerance * largest

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        why = f": {self.reason}" if self.reason else ""
        return (
            f"{name}, relative tolerance {self.tolerance:g}{why}; what differs by up to"
            f" {self.rounding:g} of the largest output counts as rounding"
        )


DOUBLE = Precision(torch.float64, 1e-9, 1e-15)


def single(reason: str) -> Precision:
    """Float32, and why not float64."""
    return Precision(torch.float32, SINGLE_TOLERANCE, 5e-7, reason)


def half(reason: str) -> Precision:
    """Float32 around half precision, and why."""
    return Precision(torch.float32, 3e-2, 1e-2, reason)


def measure_precision(
    run: Callable[[Float[Tensor, "batch L d_model"]], Float[Tensor, "batch L d_model"]],
    x: Float[Tensor, "batch L d_model"],
    direction: Float[Tensor, "batch L d_model"],
) -> Precision:
    """Double where a module really computes in it, else single or half.

    A smooth output is a hundredth as bent over a tenth of a step along `direction`; rounding is
    not.

    Args:
        run: the module in float64.
        x: its input, in float64.
        direction: of the steps.
    """

    def bends(step: float) -> Float[Tensor, "batch L"]:
        left, right = (run(x + shift * direction) for shift in (-step, step))
        return (left - 2 * here + right).abs().amax(-1) / here.abs().max()

    try:
        here = run(x)
        if here.dtype != torch.float64:
            return single("in float64 it gives another type")
        coarse, fine = (bends(step).median().item() for step in (1e-2, 1e-3))
        if fine > 5e-5 and fine > coarse / 10:
            return half("in float64 it rounds as half precision does")
        coarse, fine = (bends(step).max().item() for step in (1e-8, 1e-9))
        if fine > 1e-11 and fine > coarse / 10:
            return single("in float64 it rounds as float32 does")
    except Misbehaviour as error:
        return single(f"in float64, {error}")
    return DOUBLE
