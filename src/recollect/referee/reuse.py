"""One module in many calls: nothing that it keeps from one call makes the next one wrong."""

from __future__ import annotations

import torch
from torch import nn

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
"""What a weight changes by, as a share of itself, where an optimiser is imitated."""


def reuse(subject: Subject) -> Verdict:
    """A module that has been called before gives what a fresh one gives: after shorter and longer
    sequences, other batch sizes, gradients, a pass in training mode, a change of its weights."""
    module, x, tokens = subject.build(), *subject.sequences(subject.middle)
    with torch.no_grad():
        one, other = (subject.run(subject.build(), x, tokens) for _ in range(2))
    if largest_change(one, other).size:
        return not_measured("two fresh modules give different outputs: see determinism")
    for what, length, batch in _calls(subject):
        change = _beside_fresh(subject, module, length, batch)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"called again, with {what}, it gives output {change.position} that differs from a"
                f" fresh module's by {change}: it keeps something from call to call",
                length=length,
                **change.facts,
            )
    fine = (
        "short, long and short sequences, one row and many, training and evaluation, old and new"
        " weights in turn: each gives what a fresh module gives"
    )
    return _after_training(subject) or _after_a_step(subject) or passed(fine)


def _calls(subject: Subject) -> list[tuple[str, int, int]]:
    """In words, and the length and the batch size."""
    short, long = subject.lengths[min(1, len(subject.lengths) - 1)], subject.lengths[-1]
    return [
        (f"{short} positions", short, 2),
        (f"{long} positions after {short}", long, 2),
        (f"{short} positions after {long}", short, 2),
        ("another batch size", short, 1),
    ]


def _beside_fresh(subject: Subject, module: nn.Module, length: int, batch: int) -> Change:
    """By how much the module's output differs from that of one which was never called."""
    x, tokens = subject.sequences(length, batch=batch, seed=length)
    with torch.no_grad():
        expected = subject.run(subject.build(), x, tokens)
        return compared(subject, subject.run(module, x, tokens), expected, expected)


def _after_training(subject: Subject) -> Verdict | None:
    """Evaluation after a pass in training mode, which may change registered buffers, as batch norm
    does, and nothing else."""
    module = subject.build()
    x, tokens = subject.sequences(subject.middle)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad():
        expected = subject.run(module, x, tokens)
    subject.run(module.train(), x, tokens)
    module.eval()
    after = dict(module.named_buffers())
    if after.keys() != before.keys() or any(not torch.equal(before[n], after[n]) for n in before):
        return None
    with torch.no_grad():
        change = compared(subject, subject.run(module, x, tokens), expected, expected)
    if change.relative <= subject.precision.tolerance:
        return None
    return failed(
        f"a pass in training mode changes output {change.position} in evaluation mode by {change},"
        " and no buffer tells why: it keeps something from call to call",
        **change.facts,
    )


def _after_a_step(subject: Subject) -> Verdict | None:
    """Evaluation after its weights have changed, in place, as an optimiser changes them."""
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
        f"after its weights change, output {change.position} differs from a fresh module's with the"
        f" same weights by {change}: it keeps something of the old weights",
        **change.facts,
    )
