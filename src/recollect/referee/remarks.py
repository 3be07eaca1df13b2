"""What is no failure of a mixer, and a user may not expect."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from recollect.models.calling import returned
from recollect.referee.lengths import compared, draws
from recollect.referee.subject import Subject
from recollect.referee.verdict import Misbehaviour


def remarks(subject: Subject) -> Iterator[str]:
    """All of them, in words."""
    try:
        yield from _adapted(subject)
        if subject.runs:
            yield from _several(subject)
            yield from _two_modes(subject)
    except Misbehaviour:  # told by the checks
        return


def _adapted(subject: Subject) -> Iterator[str]:
    """A class that is not built or called as ours are."""
    for spec in {spec.label: spec for spec in subject.config.mixer}.values():
        if spec.adapt is not None:
            yield f"{spec.label} is adapted: {spec.adapt}"


def _several(subject: Subject) -> Iterator[str]:
    """An output that is not all that is returned."""
    if len(subject.config.mixer) > 1:
        return
    module = subject.build(dtype=torch.float32, perturbed=False)
    with torch.no_grad():
        given = returned(module, *subject.sequences(subject.middle, dtype=torch.float32))
    if not isinstance(given, torch.Tensor):
        yield f"forward returns {len(given)} things: the first is its output"


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
