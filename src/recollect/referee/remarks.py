"""Remarks on a mixer: facts that are not failures but may surprise a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

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
APART, ROUNDING = 0.05, 1e-3
"""The least difference of float32 and float64 that is remarked, relative to the norm of a tensor or
to this part of the largest norm."""


def remarks(subject: Subject) -> Iterator[str]:
    """Yield all remarks, in words."""
    try:
        yield from _adapted(subject)
        if subject.takes("rope") and (why := not_rotated(subject)) is not None:
            yield f"not judged with rotated queries and keys: {why}"
        if subject.runs:
            yield from _several(subject)
            yield from _two_modes(subject)
            yield from _changing(subject)
            modes = (remark for training in (False, True) for remark in _slope(subject, training))
            yield from islice(modes, 1)
            yield from _single_precision(subject)
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


def _changing(subject: Subject) -> Iterator[str]:
    """Whether evaluation changes buffers again and again; a table may be computed once."""
    module = subject.build()
    given = [subject.sequences(subject.middle, seed=seed) for seed in (0, 1)]
    kept = []
    with torch.no_grad():
        for sequences in given:
            subject.run(module, *sequences)
            kept.append({name: buffer.clone() for name, buffer in module.named_buffers()})
    names = [n for n in kept[0] if n in kept[1] and not torch.equal(kept[0][n], kept[1][n])]
    if names:
        yield (
            f"evaluation changes the buffer {', '.join(names)} in every pass: results depend on how"
            " much was evaluated before"
        )


def _slope(subject: Subject, training: bool) -> Iterator[str]:
    """Whether gradients differ from the slope of the outputs along one direction of the input and
    the weights; only where float64 shows it."""
    if subject.precision != DOUBLE:
        return
    x, tokens = subject.sequences(subject.middle)
    weights, along = (subject.sequences(subject.middle, seed=seed)[0] for seed in (1, 2))
    module = subject.build().train(training)

    def output(module: nn.Module, x: Tensor) -> Tensor:
        return (subject.run(module, x, tokens) * weights).sum()

    def moved(step: float) -> float:
        module = subject.build().train(training)
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
            f"{'in training mode, ' * training}outputs change along a direction with slope"
            f" {slope:.3g}, where gradients give {parts.sum().item():.3g}: a custom backward pass"
            " is wrong, or approximates on purpose, as a straight-through estimator does"
        )


def _single_precision(subject: Subject) -> Iterator[str]:
    """Whether an output or a gradient in float32, as in training, differs from that in float64 by
    more than rounding: the other remarks on gradients need float64."""
    if subject.precision != DOUBLE:
        return
    # both types draw other random numbers
    training = not draws(subject, subject.build().train(), subject.middle)
    one, other = (_results(subject, each, training) for each in (torch.float32, torch.float64))
    least = ROUNDING * max(result.norm().item() for result in other.values())
    errors = {
        name: ((one[name] - result).norm() / max(result.norm().item(), least)).item()
        for name, result in other.items()
    }
    shown = {name: f"{error:.1g}" for name, error in errors.items()}
    worst = max(shown, key=lambda name: float(shown[name]))  # of equal ones the output
    if errors[worst] > APART:
        yield (
            f"in float32, the type of training, {worst} differs by {shown[worst]} of its norm"
            f" from that in float64 ({'training' if training else 'evaluation'} mode)"
        )


def _results(subject: Subject, dtype: torch.dtype, training: bool) -> dict[str, Tensor]:
    """The output, and the gradients of a weighted sum of it, in float64."""
    x, tokens = subject.sequences(subject.middle, dtype=dtype)
    weights, _ = subject.sequences(subject.middle, seed=1, dtype=dtype)
    module = subject.build(dtype=dtype).train(training)
    y = subject.run(module, x.requires_grad_(), tokens)
    names = [name for name, weight in module.named_parameters() if weight.requires_grad]
    given = subject.gradients((y * weights).sum(), [x, *_trained(module)])
    of = ("the gradient of its input", *(f"the gradient of {name}" for name in names))
    found = {"the output": y, **dict(zip(of, given, strict=True))}
    return {name: _numbers(result.detach().to_dense()) for name, result in found.items()}


def _numbers(result: Tensor) -> Tensor:
    return (torch.view_as_real(result) if result.is_complex() else result).double()


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in module.parameters() if weight.requires_grad]
