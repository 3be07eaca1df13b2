"""The type in which a mixer is judged, and the differences that count as rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.referee.verdict import Misbehaviour

Path = Literal["", "float32", "autocast"]
"""The precision of a run: "" for that of `precision`; the others are those of training."""
PATHS: dict[Path, str] = {
    "": "",
    "float32": "in float32",
    "autocast": "under bfloat16 autocast",
}
"""The paths in words."""
SINGLE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Precision:
    """How outputs are compared.

    Attributes:
        dtype: type of inputs and weights.
        tolerance: largest allowed difference, relative to the outputs that are compared.
        rounding: largest allowed difference relative to the largest output of the sequence; an
            FFT, for example, rounds every output relative to the largest one.
        reason: why the type is not float64.
    """

    dtype: torch.dtype
    tolerance: float
    rounding: float
    reason: str = ""

    @property
    def coarse(self) -> bool:
        """Whether this is half precision, whose rounding can hide faults."""
        return self.tolerance > SINGLE_TOLERANCE

    def least_scale(self, outputs: Tensor) -> float:
        """Return the least divisor of a difference, so that `tolerance` allows for `rounding`."""
        largest = outputs.detach().nan_to_num(0, 0, 0).abs().max().item()
        return self.rounding / self.tolerance * largest

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        why = f": {self.reason}" if self.reason else ""
        return (
            f"{name}, relative tolerance {self.tolerance:g}{why}; a difference of up to"
            f" {self.rounding:g} of the largest output counts as rounding"
        )


DOUBLE = Precision(torch.float64, 1e-9, 1e-15)


def single(reason: str) -> Precision:
    """Return the precision of float32, with the reason why it is not float64."""
    return Precision(torch.float32, SINGLE_TOLERANCE, 5e-7, reason)


def half(reason: str) -> Precision:
    """Return the precision of float32 with half precision inside, with the reason."""
    return Precision(torch.float32, 3e-2, 1e-2, reason)


def measure_precision(
    run: Callable[[Float[Tensor, "batch L d_model"]], Float[Tensor, "batch L d_model"]],
    x: Float[Tensor, "batch L d_model"],
    direction: Float[Tensor, "batch L d_model"],
) -> Precision:
    """Return double precision if a module really computes in it, else single or half.

    Second differences along `direction` tell them apart. For a tenth of the step, those of a smooth
    output fall to a hundredth; those of rounding do not.

    Args:
        run: the module in float64.
        x: input in float64.
        direction: direction of the steps.
    """

    def bends(step: float) -> Float[Tensor, "batch L"]:
        left, right = (run(x + shift * direction) for shift in (-step, step))
        return (left - 2 * here + right).abs().amax(-1) / here.abs().max()

    try:
        here = run(x)
        if here.dtype != torch.float64:
            return single("in float64 it returns another type")
        coarse, fine = (bends(step).median().item() for step in (1e-2, 1e-3))
        if fine > 5e-5 and fine > coarse / 10:
            return half("in float64 it rounds like half precision")
        coarse, fine = (bends(step).max().item() for step in (1e-8, 1e-9))
        if fine > 1e-11 and fine > coarse / 10:
            return single("in float64 it rounds like float32")
    except Misbehaviour as error:
        return single(f"in float64, {error}")
    return DOUBLE
