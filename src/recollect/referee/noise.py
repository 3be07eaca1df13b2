"""Noise on trained parameters: zeros in an initialisation could hide faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recollect.referee.verdict import Misbehaviour

LEVELS = (0.1, 0.01, 0.001, 0.0)
"""Standard deviations; the first one that keeps the parameters in their domain is used."""
EXPLOSION = 1e3
"""The largest allowed outputs, relative to outputs without noise or to inputs. A decay that noise
lifts above 1 exceeds this over a long sequence."""


@dataclass(frozen=True)
class Noise:
    """The noise added to every trained parameter.

    Attributes:
        level: standard deviation.
        reason: why the level is not the first of `LEVELS`.
    """

    level: float
    reason: str = ""

    def __str__(self) -> str:
        added = f"noise of {self.level:g}" if self.level else "no noise"
        return f"{added} on trained parameters{f': {self.reason}' if self.reason else ''}"


def add_noise(module: nn.Module, level: float) -> None:
    """Add normal noise to the trained parameters, from PyTorch's global generator.

    Frozen parameters, such as masks or permutations, do not change.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=level)


def choose_noise(output: Callable[[float], Tensor], inputs: Tensor) -> Noise:
    """Return the largest level at which the module runs, with finite outputs that do not explode.

    If outputs are not finite without noise, the first level is used.

    Args:
        output: maps a level of noise to a module's outputs for `inputs`.
        inputs: inputs of the module.
    """
    try:
        plain = output(0.0)
    except Misbehaviour:  # the checks report it
        return Noise(LEVELS[0])
    if not plain.isfinite().all():
        return Noise(LEVELS[0])
    allowed = EXPLOSION * max(plain.abs().max().item(), inputs.abs().max().item())
    reason = ""
    for level in LEVELS[:-1]:
        problem = _problem(output, level, allowed)
        if not problem:
            return Noise(level, reason)
        reason = f"with {level:g}, {problem}: noise moves a parameter out of its domain"
    return Noise(0.0, reason)


def _problem(output: Callable[[float], Tensor], level: float, allowed: float) -> str:
    """What is wrong at a level of noise, in words; empty if nothing is."""
    try:
        y = output(level)
    except Misbehaviour as error:
        return str(error)
    if not y.isfinite().all():
        return "outputs are not finite"
    largest = y.abs().max().item()
    return f"outputs reach {largest:.2g}" if largest > allowed else ""
