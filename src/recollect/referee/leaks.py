"""Judge the change of earlier outputs by later inputs, and explain a leak."""

from __future__ import annotations

import math
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from recollect.referee.inputs import Sequences
from recollect.referee.subject import Subject
from recollect.referee.verdict import Change, Misbehaviour, Verdict, failed, largest_change

ROUNDED, HARDLY, ABOVE_NOISE = 2**-8, 0.1, 4
"""In half precision a change counts as rounding if its size relative to the outputs is at most
ROUNDED. It also counts as rounding if it is at most ABOVE_NOISE times the change from inputs that
change by only the fraction HARDLY."""


def row_change(
    subject: Subject, module: nn.Module, given: Sequences, other: Sequences, row: int, last: int
) -> Change:
    """Return the change of a row's outputs up to a position when its inputs after it change."""
    expected = subject.outputs(module, *given)
    y = subject.outputs(module, *cut_rows(given, other, {row: last}))
    return past_change(y, expected, last + 1, row, least_scale(subject, y, expected))


def past_change(
    y: Float[Tensor, "batch L d_model"],
    expected: Float[Tensor, "batch L d_model"],
    length: int,
    row: int,
    least: float,
) -> Change:
    """Return the largest change among the first `length` outputs of a row."""
    rows = slice(row, row + 1)
    return largest_change(y[rows, :length], expected[rows, :length], least_scale=least)


def is_fault(
    subject: Subject,
    module: nn.Module,
    given: Sequences,
    other: Sequences,
    row: int,
    last: int,
    change: Change,
) -> bool:
    """Return whether a change of earlier outputs is larger than rounding."""
    if change.relative > subject.precision.tolerance:
        return True
    if not subject.precision.coarse or change.relative <= ROUNDED:
        return False
    hardly = given[0] + HARDLY * (other[0] - given[0]), given[1]
    noise = row_change(subject, module, given, hardly, row, last)
    return change.size > ABOVE_NOISE * noise.size


def explained(
    subject: Subject,
    module: nn.Module,
    given: Sequences,
    other: Sequences,
    row: int,
    last: int,
    where: str,
) -> Verdict:
    """Return the failure with the single input or token id that changes an earlier output most."""
    alone = _alone(subject, module, given, other, row, last)
    if alone is not None:
        (given, other), row = alone, 0

    def change_by(changed: Sequences, length: int) -> Change:
        y = subject.outputs(module, *changed)
        return past_change(y, expected, length, row, least_scale(subject, y, expected))

    expected = subject.outputs(module, *given)
    if change_by(given, last + 1).relative > subject.precision.tolerance:
        raise Misbehaviour("a second pass over the same input gives a different output")
    changes = []
    for position in range(last + 1, given[1].shape[1]):
        x, tokens = given[0].clone(), given[1].clone()
        x[row, position], tokens[row, position] = other[0][row, position], other[1][row, position]
        for kind, sequences in ("input", (x, given[1])), ("token id", (given[0], tokens)):
            changes.append((change_by(sequences, position), kind, position))
    change, kind, position = max(changes, key=lambda item: item[0].relative)
    what = f"{kind} {position} changes"
    if not subject.precision.coarse and change.relative <= subject.precision.tolerance:
        kind, position, what = "inputs", last + 1, f"all inputs from {last + 1} on together change"
        change = change_by(cut_rows(given, other, {row: last}), position)
    facts = {"changed": kind, "input": position, **change.facts}
    return failed(f"{what} output {change.position} by {change} ({where})", **facts)


def _alone(
    subject: Subject, module: nn.Module, given: Sequences, other: Sequences, row: int, last: int
) -> tuple[Sequences, Sequences] | None:
    """The row as a batch of one, if its earlier outputs also change there."""
    one, two = ((x[row : row + 1], tokens[row : row + 1]) for x, tokens in (given, other))
    change = row_change(subject, module, one, two, 0, last)
    return (one, two) if is_fault(subject, module, one, two, 0, last, change) else None


def cut_rows(given: Sequences, other: Sequences, cuts: Mapping[int, int]) -> Sequences:
    """Return the inputs, replaced after a position in the rows of `cuts`."""
    x, tokens = given[0].clone(), given[1].clone()
    for row, last in cuts.items():
        x[row, last + 1 :] = other[0][row, last + 1 :]
        tokens[row, last + 1 :] = other[1][row, last + 1 :]
    return x, tokens


def least_scale(subject: Subject, *outputs: Float[Tensor, "batch L d_model"]) -> float:
    """Return the least scale of a change: rounding relative to the largest output is no change."""
    return max(map(subject.precision.least_scale, outputs))


def gradient_explained(
    subject: Subject,
    weighted: Float[Tensor, "batch L d_model"],
    x: Float[Tensor, "batch L d_model"],
    last: int,
) -> Verdict:
    """Return the failure with the output that has the largest gradient at a later input."""
    leaks = []
    for output in range(last + 1):
        (gradient,) = subject.gradients(weighted[:, output].sum(), [x])
        sizes = gradient.abs().amax((0, 2))
        later = sizes[output + 1 :].nan_to_num(math.inf)
        position = int(later.argmax())
        leaks.append((later[position].item(), sizes.max().item(), output, output + 1 + position))
    size, scale, output, position = max(leaks)
    return failed(
        f"output {output} has a gradient of {size:.2g} at input {position}; its largest gradient is"
        f" {scale:.2g} ({x.shape[1]} positions)",
        input=position,
        output=output,
        change=size,
    )
