"""Sequences of many lengths: alike where they overlap, and refused where there is no room."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Change,
    Misbehaviour,
    Verdict,
    failed,
    largest_change,
    passed,
)

SMALL, FAR = 8, 32
"""It is built for the one, and given the other."""


def lengths(subject: Subject) -> Verdict:
    """It runs at every length, and a shorter sequence gives the beginning of the longer one's
    output, in training mode too unless it draws random numbers there; more than it was built for
    raises `ValueError`, or works as if built for it."""
    if subject.failures:
        first, error = next(iter(subject.failures.items()))
        failing = ", ".join(map(str, subject.failures))
        return failed(f"it fails at length {failing}: {error}", length=first)
    fault = _beginnings(subject, subject.build(), subject.max_len, "")
    module = subject.build().train()
    if fault is None and not draws(subject, module, subject.middle):
        fault = _beginnings(subject, module, subject.middle, " (training mode)")
    with torch.no_grad():
        return fault or _beyond(subject)


def _beginnings(subject: Subject, module: nn.Module, longest: int, where: str) -> Verdict | None:
    """What is wrong with the outputs of sequences shorter than `longest`."""
    x, tokens = subject.sequences(longest)
    whole = subject.outputs(module, x, tokens)
    for length in (n for n in subject.lengths if n < longest):
        y = subject.outputs(module, x[:, :length], tokens[:, :length])
        change = compared(subject, y, whole[:, :length], whole)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"output {change.position} of {length} positions differs from that of the same"
                f" inputs among {longest} by {change}{where}",
                length=length,
                **change.facts,
            )
    return None


def draws(subject: Subject, module: nn.Module, length: int) -> bool:
    """Whether it draws random numbers, as dropout does: then outputs of different calls cannot be
    compared."""
    x, tokens = subject.sequences(length)
    one, other = (subject.outputs(module, x, tokens, seed=seed) for seed in (0, 1))
    return largest_change(one, other).size > 0


def compared(subject: Subject, y: Tensor, expected: Tensor, whole: Tensor) -> Change:
    """The largest difference; rounding by the largest output of the whole counts as none."""
    return largest_change(y, expected, least_scale=subject.precision.least_scale(whole))


def _beyond(subject: Subject) -> Verdict:
    """Given more than it was built for: one more, and many times as much."""
    said = [f"{', '.join(map(str, subject.lengths))} positions give the same beginnings"]
    pairs = [(subject.max_len, subject.max_len + 1), (SMALL, FAR)]
    for max_len, length in pairs if subject.takes("max_len") else pairs[:1]:
        fault, what = _longer(subject, max_len, length)
        if fault is not None:
            return fault
        said += [what] if what not in said else []
    return passed("; ".join(said))


def _longer(subject: Subject, max_len: int, length: int) -> tuple[Verdict | None, str]:
    """What is wrong at a length above `max_len`, or what it does there."""
    try:
        module = subject.build(max_len=max_len)
    except (Misbehaviour, UserError):
        return None, f"it cannot be built for {max_len}"
    x, tokens = subject.sequences(length)
    try:
        y = subject.run(module, x, tokens)
    except Misbehaviour as error:
        if not subject.takes("max_len"):
            return failed(f"{error}; expected an output, or a max_len", length=length), ""
        if isinstance(error.__cause__, ValueError):
            return None, "above max_len it raises ValueError"
        wanted = "expected a ValueError for a length above max_len"
        return failed(f"built with max_len={max_len}, {error}; {wanted}", length=length), ""
    if not subject.takes("max_len"):
        return None, "longer sequences run too"
    expected = subject.run(_built_for(length, subject, module, max_len), x, tokens)
    change = compared(subject, y, expected, expected)
    if change.relative > subject.precision.tolerance:
        fault = failed(
            f"built with max_len={max_len} it takes {length} positions, and gives output"
            f" {change.position} that differs from that of max_len={length} by {change}; expected a"
            " ValueError",
            length=length,
            **change.facts,
        )
        return fault, ""
    return None, "more than it was built for is no exception"


def _built_for(length: int, subject: Subject, module: nn.Module, max_len: int) -> nn.Module:
    """The module with the same weights, but built for another length; tables may be longer."""
    other = subject.build(max_len=length)
    weights = dict(module.named_parameters())
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            given = weights.get(name, parameter)
            if given.shape != parameter.shape:
                raise Misbehaviour(
                    f"it has weights for {max_len} positions, but takes {length}; expected a"
                    " ValueError"
                )
            parameter.copy_(given)
    return other
