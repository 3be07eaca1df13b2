"""Check sequences of many lengths: equal outputs where they overlap, an error beyond max_len."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.referee.inputs import Sequences
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Change,
    Misbehaviour,
    Verdict,
    failed,
    largest_change,
    passed,
)

LEAST_MAX_LEN = 64
"""The least `max_len` of the checks."""
SMALL, FAR = 8, 32
"""The mixer is built for the first length, and gets the second."""


def lengths(subject: Subject) -> Verdict:
    """Check that a mixer runs at every length, with equal outputs where sequences overlap.

    This includes training mode, unless the mixer draws random numbers there. A sequence longer than
    `max_len` must raise `ValueError`, or work as if the mixer were built for it.
    """
    if subject.failures:
        first, error = next(iter(subject.failures.items()))
        failing = ", ".join(map(str, subject.failures))
        return failed(f"it fails at length {failing}: {error}{_room(subject)}", length=first)
    fault = _beginnings(subject, subject.build(), subject.max_len, "")
    module = subject.build().train()
    if fault is None and not draws(subject, module, subject.middle):
        fault = _beginnings(subject, module, subject.middle, " (training mode)")
    if fault is not None or subject.path:
        return fault or passed("alike")
    with torch.no_grad():
        return _beyond(subject)


def _room(subject: Subject) -> str:
    """A hint if only the longest sequences fail."""
    fits = max(subject.lengths)
    if min(subject.failures) <= fits or fits < LEAST_MAX_LEN or subject.takes("max_len"):
        return ""
    return (
        f"; if it supports fewer positions, judge it up to {fits} (--max-len {fits}), or let its"
        " constructor take max_len"
    )


def _beginnings(subject: Subject, module: nn.Module, longest: int, where: str) -> Verdict | None:
    """The failure if outputs of shorter sequences differ from those of the longest, else None."""
    x, tokens = subject.sequences(longest)
    whole = subject.outputs(module, x, tokens)
    for length in sorted(n for n in (*subject.lengths, *subject.chunk_lengths) if n < longest):
        y = subject.outputs(module, x[:, :length], tokens[:, :length])
        change = compared(subject, y, whole[:, :length], whole)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"output {change.position} differs by {change} between the first {length} positions"
                f" alone and all {longest}{where}",
                length=length,
                **change.facts,
            )
    return None


def draws(subject: Subject, module: nn.Module, length: int) -> bool:
    """Return whether a module draws random numbers, as dropout does.

    Outputs of different calls cannot be compared then.
    """
    x, tokens = subject.sequences(length)
    one, other = (subject.outputs(module, x, tokens, seed=seed) for seed in (0, 1))
    return largest_change(one, other).size > 0


def compared(subject: Subject, y: Tensor, expected: Tensor, whole: Tensor) -> Change:
    """Return the largest difference; rounding relative to the largest output counts as zero."""
    return largest_change(y, expected, least_scale=subject.precision.least_scale(whole))


def _beyond(subject: Subject) -> Verdict:
    """Judge sequences longer than `max_len`: by one position, and several times as long."""
    lengths = sorted({*subject.lengths, *subject.chunk_lengths})
    findings = [f"outputs at {', '.join(map(str, lengths))} positions agree where they overlap"]
    pairs = [(subject.max_len, subject.max_len + 1), (SMALL, FAR)]
    for max_len, length in pairs if subject.takes("max_len") else pairs[:1]:
        fault, what = _longer(subject, max_len, length)
        if fault is not None:
            return fault
        findings += [what] if what not in findings else []
    return passed("; ".join(findings))


def _longer(subject: Subject, max_len: int, length: int) -> tuple[Verdict | None, str]:
    """The failure at a length above `max_len`, or a description of what happens there.

    The mixer may refuse the length, best with `ValueError`. Or its outputs must be correct: equal
    to those of a mixer built for this length, if the same weights fit it.
    """
    try:
        module = subject.build(max_len=max_len)
    except (Misbehaviour, UserError):
        return None, f"the mixer cannot be built for {max_len} positions"
    given = subject.sequences(length)
    try:
        y = subject.outputs(module, *given)
    except Misbehaviour as error:
        return None, _refusal(subject, error)
    x, tokens = given
    shorter = subject.outputs(module, x[:, :max_len], tokens[:, :max_len])
    other = subject.sequences(length, seed=1)
    last = max_len - 1
    changed = subject.outputs(module, *replaced(given, other, slice(last, None)))
    wanted = [
        (f"differs from that of the first {max_len} positions alone", shorter, max_len),
        (f"changes with inputs from {last} on", changed, last),
    ]
    larger = _with_more_room(subject, module, length)
    if larger is not None:
        expected = subject.outputs(larger, x, tokens)
        wanted.append((f"differs from that of a mixer built for {length}", expected, length))
    for what, expected, n in wanted:
        change = compared(subject, y[:, :n], expected[:, :n], y)
        if change.relative > subject.precision.tolerance:
            fault = failed(
                f"built for {max_len} positions, the mixer accepts {length}, but output"
                f" {change.position} {what} by {change}; expected a ValueError",
                length=length,
                **change.facts,
            )
            return fault, ""
    if larger is None and subject.takes("max_len"):
        return None, "longer sequences also run, but not to compare: its weights depend on max_len"
    return None, "longer sequences also run"


def _with_more_room(subject: Subject, module: nn.Module, length: int) -> nn.Module | None:
    """The module with the same weights, built for longer sequences.

    None if it takes no `max_len`, or if its weights then have other shapes.
    """
    if not subject.takes("max_len"):
        return None
    larger = subject.build(max_len=length)
    try:
        larger.load_state_dict(module.state_dict())
    except RuntimeError:
        return None
    return larger


def _refusal(subject: Subject, error: Misbehaviour) -> str:
    above = "above max_len" if subject.takes("max_len") else "longer sequences:"
    cause = type(error.__cause__).__name__
    if isinstance(error.__cause__, ValueError):
        return f"{above} it raises {cause}"
    return f"{above} it raises {cause}; ValueError would be clearer"


def replaced(given: Sequences, other: Sequences, where: slice) -> Sequences:
    """Return inputs and token ids with those of `other` at some positions."""
    x, tokens = given[0].clone(), given[1].clone()
    x[:, where], tokens[:, where] = other[0][:, where], other[1][:, where]
    return x, tokens
