"""A cut: the position in a row after which all inputs change, and what that changes before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from jaxtyping import Float
from torch import Tensor, nn

from recollect.referee.inputs import Sequences
from recollect.referee.subject import Subject
from recollect.referee.verdict import Change, Misbehaviour, Verdict, failed, largest_change

ROUNDED, HARDLY, ABOVE_NOISE = 2**-8, 0.1, 4
"""In half precision a change counts as rounding if its size relative to the outputs is at most
ROUNDED. It also counts as rounding if it is at most ABOVE_NOISE times the change from inputs that
change by only the fraction HARDLY."""


@dataclass(frozen=True)
class Cut:
    """A row of a batch whose inputs change after a position.

    Attributes:
        subject: the mixer that reads the batch.
        module: its module.
        given: the batch.
        other: inputs to change to, of the same shape.
        row: the row that changes.
        last: the last position that keeps its input.
        draw: seed of the mixer's random numbers.
    """

    subject: Subject
    module: nn.Module
    given: Sequences
    other: Sequences
    row: int
    last: int
    draw: int

    @cached_property
    def expected(self) -> Float[Tensor, "batch L d_model"]:
        """The outputs of the batch before the change."""
        return self.subject.outputs(self.module, *self.given, seed=self.draw)

    @property
    def changed(self) -> Sequences:
        """The batch after the change."""
        return cut_rows(self.given, self.other, {self.row: self.last})

    def change(self, inputs: Sequences, length: int) -> Change:
        """The change of the row's first `length` outputs when the module reads `inputs`."""
        expected = self.expected
        y = self.subject.outputs(self.module, *inputs, seed=self.draw)
        least = least_scale(self.subject, y, expected)
        return row_change(y, expected, length, self.row, least)

    def past_change(self) -> Change:
        """The change of the row's outputs up to the cut."""
        return self.change(self.changed, self.last + 1)

    def is_fault(self, change: Change) -> bool:
        """Whether a change of earlier outputs is larger than rounding."""
        precision, (x, tokens) = self.subject.precision, self.given
        if change.relative > precision.tolerance:
            return True
        if not precision.coarse or change.relative <= ROUNDED:
            return False
        hardly = x + HARDLY * (self.other[0] - x), tokens
        return change.size > ABOVE_NOISE * replace(self, other=hardly).past_change().size

    def alone(self) -> Cut | None:
        """The same cut in a batch of its row only, if earlier outputs also change there."""
        row, both = self.row, (self.given, self.other)
        one, two = ((x[row, None], tokens[row, None]) for x, tokens in both)
        alone = replace(self, given=one, other=two, row=0)
        return alone if alone.is_fault(alone.past_change()) else None


def explained(cut: Cut, where: str) -> Verdict:
    """The failure with the single input or token id that changes an earlier output most."""
    cut = cut.alone() or cut
    tolerance, (x, tokens), row = cut.subject.precision.tolerance, cut.given, cut.row
    if cut.change(cut.given, cut.last + 1).relative > tolerance:
        raise Misbehaviour("a second pass over the same input gives a different output")
    changes = []
    for position in range(cut.last + 1, x.shape[1]):
        changed = x.clone(), tokens.clone()
        for each, other in zip(changed, cut.other, strict=True):
            each[row, position] = other[row, position]
        for kind, inputs in ("input", (changed[0], tokens)), ("token id", (x, changed[1])):
            changes.append((cut.change(inputs, position), kind, position))
    change, kind, position = max(changes, key=lambda item: item[0].relative)
    what = f"{kind} {position} changes"
    if not cut.subject.precision.coarse and change.relative <= tolerance:
        kind, position = "inputs", cut.last + 1
        what = f"all inputs from {position} on together change"
        change = cut.past_change()
    facts = {"changed": kind, "input": position, **change.facts}
    return failed(f"{what} output {change.position} by {change} ({where})", **facts)


def cut_rows(given: Sequences, other: Sequences, cuts: Mapping[int, int]) -> Sequences:
    """Replace the inputs after a position in some rows; `cuts` maps a row to its position."""
    x, tokens = given[0].clone(), given[1].clone()
    for row, last in cuts.items():
        x[row, last + 1 :] = other[0][row, last + 1 :]
        tokens[row, last + 1 :] = other[1][row, last + 1 :]
    return x, tokens


def least_scale(subject: Subject, *outputs: Float[Tensor, "batch L d_model"]) -> float:
    """The least scale of a change: rounding relative to the largest output is no change."""
    return max(map(subject.precision.least_scale, outputs))


def row_change(
    y: Float[Tensor, "batch L d_model"],
    expected: Float[Tensor, "batch L d_model"],
    length: int,
    row: int,
    least: float,
) -> Change:
    """The largest change among the first `length` outputs of a row."""
    rows = slice(row, row + 1)
    return largest_change(y[rows, :length], expected[rows, :length], least_scale=least)
