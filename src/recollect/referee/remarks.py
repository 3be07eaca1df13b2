"""What is no failure of a mixer, and a user may not expect."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from recollect.referee.lengths import compared, draws
from recollect.referee.subject import Subject
from recollect.referee.verdict import Misbehaviour


def remarks(subject: Subject) -> Iterator[str]:
    """All of them, in words."""
    try:
        if subject.runs:
            yield from _two_modes(subject)
    except Misbehaviour:  # told by the checks
        return


def _two_modes(subject: Subject) -> Iterator[str]:
    """Beside dropout, training and evaluation mode should compute the same."""
    evaluated, trained = subject.build(), subject.build().train()
    for part in trained.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()
    if draws(subject, trained, subject.middle):
        return  # of its own dropout nothing is known
    x, tokens = subject.sequences(subject.middle)
    expected = subject.outputs(trained, x, tokens)
    change = compared(subject, subject.outputs(evaluated, x, tokens), expected, expected)
    if change.relative > subject.precision.tolerance:
        yield (
            f"in evaluation mode, output {change.position} of {x.shape[1]} positions differs by"
            f" {change} from that in training mode, and not by dropout: what is tested is not what"
            " is trained"
        )
