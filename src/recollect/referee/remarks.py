"""Remarks on a mixer: facts that are not failures but may surprise a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.models.calling import returned
from recollect.referee.generators import kept
from recollect.referee.lengths import compared, draws
from recollect.referee.precision import DOUBLE
from recollect.referee.subject import Subject
from recollect.referee.verdict import Misbehaviour
from recollect.tensors import fill

STEP, SLOPE = 1e-6, 1e-4
"""The step of a finite difference, and its allowed error as a part of the sum of its terms."""


def remarks(subject: Subject) -> Iterator[str]:
    """Yield all remarks, in words."""
    try:
        yield from _adapted(subject)
        if subject.takes("rope") and (why := not_rotated(subject)) is not None:
            yield f"not judged with rotated queries and keys: {why}"
        if subject.runs:
            yield from _several(subject)
            yield from _two_modes(subject)
            yield from _slope(subject)
    except Misbehaviour:  # the checks report it
        return


def rotated(subject: Subject) -> Subject:
    """Return the subject with rotated queries and keys."""
    return replace(subject, config=subject.config.replace(positions="rope"))


def not_rotated(subject: Subject) -> UserError | None:
    """Return why a mixer refuses to rotate queries and keys; None if it does not."""
    try:
        with kept():
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


def _slope(subject: Subject) -> Iterator[str]:
    """Whether gradients differ from the slope of the outputs along one direction of the input and
    the weights; only where float64 shows it."""
    if subject.precision != DOUBLE:
        return
    x, tokens = subject.sequences(subject.middle)
    weights, along = (subject.sequences(subject.middle, seed=seed)[0] for seed in (1, 2))
    module = subject.build()

    def output(module: nn.Module, x: Tensor) -> Tensor:
        return (subject.run(module, x, tokens) * weights).sum()

    def moved(step: float) -> float:
        module = subject.build()
        with torch.no_grad():
            output(module, x)  # where a module may prepare its weights
            for weight, direction in zip(_trained(module), directions[1:], strict=True):
                fill(weight, weight + step * direction)
            return output(module, x + step * along).item()

    with torch.no_grad():
        output(module, x)
        directions = [along, *(torch.sin(weight + 1) for weight in _trained(module))]
    leaf = x.clone().requires_grad_()
    found = subject.gradients(output(module, leaf), [leaf, *_trained(module)])
    pairs = zip(found, directions, strict=True)
    parts = torch.cat([(gradient.to_dense().conj() * d).real.flatten() for gradient, d in pairs])
    slope = (moved(STEP) - moved(-STEP)) / (2 * STEP)
    if abs(slope - parts.sum().item()) > SLOPE * parts.abs().sum().item():
        yield (
            f"outputs change along a direction with slope {slope:.3g}, where gradients give"
            f" {parts.sum().item():.3g}: a custom backward pass is wrong, or approximates on"
            " purpose, as a straight-through estimator does"
        )


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in module.parameters() if weight.requires_grad]
