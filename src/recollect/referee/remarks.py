"""Remarks on a mixer: facts that are not failures but may surprise a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from recollect.errors import UserError
from recollect.models.calling import returned
from recollect.referee.lengths import compared, draws
from recollect.referee.subject import Subject
from recollect.referee.verdict import Misbehaviour


def remarks(subject: Subject) -> Iterator[str]:
    """Yield all remarks, in words."""
    try:
        yield from _adapted(subject)
        if subject.takes("rope") and (why := not_rotated(subject)) is not None:
            yield f"not judged with rotated queries and keys: {why}"
        if subject.runs:
            yield from _several(subject)
            yield from _two_modes(subject)
    except Misbehaviour:  # the checks report it
        return


def rotated(subject: Subject) -> Subject:
    """Return the subject with rotated queries and keys."""
    return replace(subject, config=subject.config.replace(positions="rope"))


def not_rotated(subject: Subject) -> UserError | None:
    """Return why a mixer refuses to rotate queries and keys; None if it does not."""
    try:
        with torch.random.fork_rng(devices=[]):
            rotated(subject).maker.construct(0)
    except UserError as error:
        return error
    except Misbehaviour:  # the checks report it
        return None
    return None


def _adapted(subject: Subject) -> Iterator[str]:
    """How a class of another library is built and called."""
    for spec in {spec.label: spec for spec in subject.config.mixer}.values():
        if spec.adapt is not None:
            yield f"{spec.label} is adapted: {spec.adapt}"


def _several(subject: Subject) -> Iterator[str]:
    """Whether forward returns more than its output."""
    if len(subject.config.mixer) > 1:
        return
    module = subject.build(dtype=torch.float32, perturbed=False)
    with torch.no_grad():
        given = returned(module, *subject.sequences(subject.middle, dtype=torch.float32))
    if not isinstance(given, torch.Tensor):
        yield f"forward returns {len(given)} values: the first is the output"


def _two_modes(subject: Subject) -> Iterator[str]:
    """Whether training and evaluation mode differ by more than dropout."""
    evaluated, trained = subject.build(), subject.build().train()
    for part in trained.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.eval()
    if draws(subject, trained, subject.middle):
        return  # the mixer has its own dropout, so modes cannot be compared
    x, tokens = subject.sequences(subject.middle)
    expected = subject.outputs(trained, x, tokens)
    change = compared(subject, subject.outputs(evaluated, x, tokens), expected, expected)
    if change.relative > subject.precision.tolerance:
        yield (
            f"in evaluation mode, output {change.position} of {x.shape[1]} positions differs by"
            f" {change} from that in training mode, even without dropout: tests do not measure the"
            " function that is trained"
        )
