"""Sequences of many lengths: alike where they overlap, and refused where there is no room."""

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
"""The longest length at which a mixer is judged is at least this."""
SMALL, FAR = 8, 32
"""It is built for the one, and given the other."""


def lengths(subject: Subject) -> Verdict:
    """It runs at every length, and a shorter sequence gives the beginning of the longer one's
    output, in training mode too unless it draws random numbers there; more than it was built for
    raises `ValueError`, or works as if built for it."""
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
    """What to do, if only the longest sequences fail."""
    fits = max(subject.lengths)
    if min(subject.failures) <= fits or fits < LEAST_MAX_LEN or subject.takes("max_len"):
        return ""
    return (
        f"; if it is built for fewer positions, judge it up to {fits} (--max-len {fits}), or let"
        " its constructor name max_len"
    )


def _beginnings(subject: Subject, module: nn.Module, longest: int, where: str) -> Verdict | None:
    """What is wrong with the outputs of sequences shorter than `longest`."""
    x, tokens = subject.sequences(longest)
    whole = subject.outputs(module, x, tokens)
    for length in sorted(n for n in (*subject.lengths, *subject.chunk_lengths) if n < longest):
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
    lengths = sorted({*subject.lengths, *subject.chunk_lengths})
    said = [f"{', '.join(map(str, lengths))} positions give the same beginnings"]
    pairs = [(subject.max_len, subject.max_len + 1), (SMALL, FAR)]
    for max_len, length in pairs if subject.takes("max_len") else pairs[:1]:
        fault, what = _longer(subject, max_len, length)
        if fault is not None:
            return fault
        said += [what] if what not in said else []
    return passed("; ".join(said))


def _longer(subject: Subject, max_len: int, length: int) -> tuple[Verdict | None, str]:
    """What is wrong at a length above `max_len`, or what it does there: it refuses, which is clear
    by a `ValueError`, or it is right, and as if built for this length where its weights fit."""
    try:
        module = subject.build(max_len=max_len)
    except (Misbehaviour, UserError):
        return None, f"it cannot be built for {max_len}"
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
        (f"differs from that of the first {max_len} alone", shorter, max_len),
        (f"changes with inputs {last} and later", changed, last),
    ]
    if (larger := _with_more_room(subject, module, length)) is not None:
        expected = subject.outputs(larger, x, tokens)
        wanted.append(
            (f"differs from what it gives when it is built for {length}", expected, length)
        )
    for what, expected, n in wanted:
        change = compared(subject, y[:, :n], expected[:, :n], y)
        if change.relative > subject.precision.tolerance:
            fault = failed(
                f"built for {max_len} positions it takes {length}, and there output"
                f" {change.position} {what} by {change}; expected a ValueError",
                length=length,
                **change.facts,
            )
            return fault, ""
    return None, "longer sequences run too"


def _with_more_room(subject: Subject, module: nn.Module, length: int) -> nn.Module | None:
    """The module with the same weights, built for longer sequences; None where it takes no
    `max_len`, or has other weights then."""
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
    """The given inputs and token ids, with those of others in some places."""
    x, tokens = given[0].clone(), given[1].clone()
    x[:, where], tokens[:, where] = other[0][:, where], other[1][:, where]
    return x, tokens
