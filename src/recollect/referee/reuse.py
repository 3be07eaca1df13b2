"""Check that calls of a module do not affect later calls."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recollect.referee.lengths import compared
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Change,
    Verdict,
    failed,
    largest_change,
    not_measured,
    passed,
)

WEIGHTS_STEP = 0.1
"""Relative change of each weight in an imitated step of an optimiser."""
PASSES = 2
"""Passes in training mode that are compared with the first."""


def reuse(subject: Subject) -> Verdict:
    """Check that a module gives the outputs of a fresh one after earlier calls.

    Earlier calls have shorter and longer sequences, other batch sizes, training mode, and old
    weights.
    """
    module, x, tokens = subject.build(), *subject.sequences(subject.middle)
    with torch.no_grad():
        one, other = (subject.run(subject.build(), x, tokens) for _ in range(2))
    if largest_change(one, other).size:
        return not_measured("two fresh modules give different outputs: see the check determinism")
    for what, length, batch in _calls(subject):
        change = _beside_fresh(subject, module, length, batch)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"in a later call, with {what}, output {change.position} differs from that of a"
                f" fresh module by {change}: the module keeps something between calls",
                length=length,
                **change.facts,
            )
    fine = (
        "outputs equal those of a fresh module after calls with shorter and longer sequences, other"
        " batch sizes, training mode and other weights"
    )
    fault = _after_training(subject) or _again_in_training(subject) or _after_a_step(subject)
    return fault or passed(fine)


def _calls(subject: Subject) -> list[tuple[str, int, int]]:
    """Description, length and batch size of each call, in order."""
    short, long = subject.lengths[min(1, len(subject.lengths) - 1)], subject.lengths[-1]
    return [
        (f"{short} positions", short, 2),
        (f"{long} positions after {short}", long, 2),
        (f"{short} positions after {long}", short, 2),
        ("another batch size", short, 1),
    ]


def _beside_fresh(subject: Subject, module: nn.Module, length: int, batch: int) -> Change:
    """The difference between the module's output and that of a fresh module."""
    x, tokens = subject.sequences(length, batch=batch, seed=length)
    with torch.no_grad():
        expected = subject.run(subject.build(), x, tokens)
        return compared(subject, subject.run(module, x, tokens), expected, expected)


def _after_training(subject: Subject) -> Verdict | None:
    """The failure if a pass in training mode changes evaluation, else None.

    Changes of registered buffers, as in batch norm, are allowed.
    """
    module = subject.build()
    x, tokens = subject.sequences(subject.middle)
    before = _buffers(module)
    with torch.no_grad():
        expected = subject.run(module, x, tokens)
    subject.run(module.train(), x, tokens)
    module.eval()
    if _changes(before, module):
        return None
    with torch.no_grad():
        change = compared(subject, subject.run(module, x, tokens), expected, expected)
    if change.relative <= subject.precision.tolerance:
        return None
    return failed(
        f"a pass in training mode changes output {change.position} in evaluation mode by {change},"
        " although no buffer changes: the module keeps something between calls",
        **change.facts,
    )


def _again_in_training(subject: Subject) -> Verdict | None:
    """The failure if passes in training mode change later ones, else None.

    The random numbers of each pass are the same. Changes of registered buffers are allowed.
    """
    module = subject.build().train()
    x, tokens = subject.sequences(subject.middle)
    before = _buffers(module)
    expected = subject.run(module, x, tokens).detach()
    for _ in range(PASSES):
        y = subject.run(module, x, tokens).detach()
        change = compared(subject, y, expected, expected)
        if change.relative > subject.precision.tolerance and not _changes(before, module):
            return failed(
                f"in training mode, output {change.position} of the same input differs in a later"
                f" pass by {change}, although no buffer changes: the module keeps something between"
                " calls",
                **change.facts,
            )
    return None


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def _changes(before: dict[str, Tensor], module: nn.Module) -> bool:
    """Whether a module's buffers have changed."""
    after = dict(module.named_buffers())
    return after.keys() != before.keys() or any(
        not torch.equal(before[n], after[n]) for n in before
    )


def _after_a_step(subject: Subject) -> Verdict | None:
    """The failure if evaluation does not follow an in-place change of the weights, else None."""
    x, tokens = subject.sequences(subject.middle)
    used, fresh = subject.build(), subject.build()
    with torch.no_grad():
        subject.run(used, x, tokens)
        weights = dict(used.named_parameters())
        for name, parameter in fresh.named_parameters():
            if parameter.requires_grad:
                parameter.mul_(1 - WEIGHTS_STEP)
                weights[name].copy_(parameter)
        expected = subject.run(fresh, x, tokens)
        change = compared(subject, subject.run(used, x, tokens), expected, expected)
    if change.relative <= subject.precision.tolerance:
        return None
    return failed(
        f"after its weights change, output {change.position} differs from that of a fresh module"
        f" with the same weights by {change}: the module keeps something from the old weights",
        **change.facts,
    )
