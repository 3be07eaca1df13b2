"""Check shapes and types, and independent rows of a batch."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from recollect.models.calling import call_forward, reads_tokens
from recollect.referee.hints import hint
from recollect.referee.inputs import BATCH, CROWD, LONG
from recollect.referee.lengths import draws
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Verdict,
    failed,
    largest_change,
    passed,
    relative_text,
)

MODES = {"evaluation": False, "training": True}


def shape_and_type(subject: Subject) -> Verdict:
    """Check that the output has the shape and type of the input and is finite."""
    if not subject.runs:
        error = next(iter(subject.failures.values()))
        return failed(f"{error}{hint(subject, error)}")
    dtype = torch.float32
    lengths = sorted({*subject.lengths, *subject.chunk_lengths}, reverse=True)
    modules = {p: subject.build(dtype=dtype, perturbed=p) for p in (False, True)}
    for perturbed, length in product(modules, lengths):
        for batch in (1, BATCH) if length == lengths[0] else (1,):
            x, tokens = subject.sequences(length, batch=batch, dtype=dtype)
            with torch.no_grad():
                y = subject.run(modules[perturbed], x, tokens)
            if y.dtype != x.dtype or y.device != x.device:
                return failed(
                    f"an input of {x.dtype} on {x.device} gives an output of {y.dtype} on"
                    f" {y.device}"
                )
            if not y.isfinite().all():
                position = int(y.isfinite().all(-1).all(0).int().argmin())
                when = f"{subject.when(perturbed)} ({length} positions)"
                return failed(f"output {position} is not finite{when}", output=position)
    return passed("outputs are (batch, length, d_model) float32 and finite, for 1 and 3 rows")


def rows(subject: Subject) -> Verdict:
    """Check that a row's output does not change with other rows, or when the row is alone."""
    tolerance, largest = subject.precision.tolerance, 0.0
    for mode, training in MODES.items():
        length = subject.middle if training else subject.lengths[-1]
        module = subject.build().train(training)
        x, tokens = subject.sequences(length, batch=BATCH)
        other_x, other_tokens = subject.sequences(length, batch=BATCH, seed=1)
        expected = subject.outputs(module, x, tokens)
        for row in range(BATCH):
            mixed_x, mixed_tokens = x.clone(), tokens.clone()
            mixed_x[row], mixed_tokens[row] = other_x[row], other_tokens[row]
            y = subject.outputs(module, mixed_x, mixed_tokens)
            others = [i for i in range(BATCH) if i != row]
            change = largest_change(y[others], expected[others])
            if change.relative > tolerance:
                hit = others[change.row]
                return failed(
                    f"when row {row} changes, output {change.position} of row {hit} changes by"
                    f" {change} ({mode} mode){_layout(subject, training)}",
                    changed_row=row,
                    row=hit,
                    **change.facts,
                )
            largest = max(largest, change.relative)
    return _crowd(subject) or _gradients(subject) or _alone(subject, largest)


def _crowd(subject: Subject) -> Verdict | None:
    """The failure if rows of a large batch depend on each other, else None.

    Each trial has random numbers of its own: rows may mix on a path that is taken at random.
    """
    changing = torch.randperm(CROWD, generator=torch.Generator().manual_seed(0)) < CROWD // 2
    kept = (~changing).nonzero()[:, 0].tolist()
    for mode, training in MODES.items():
        module = subject.build().train(training)
        for length in (n for n in subject.lengths if n <= LONG):
            x, tokens = subject.sequences(length, batch=CROWD)
            other_x, other_tokens = subject.sequences(length, batch=CROWD, seed=1)
            other_x[kept], other_tokens[kept] = x[kept], tokens[kept]
            expected, y = (
                subject.outputs(module, *given, seed=length)
                for given in ((x, tokens), (other_x, other_tokens))
            )
            change = largest_change(y[kept], expected[kept])
            if change.relative > subject.precision.tolerance:
                row = kept[change.row]
                return failed(
                    f"when half of {CROWD} rows change, output {change.position} of row {row},"
                    f" which does not, changes by {change} ({mode} mode)",
                    row=row,
                    **change.facts,
                )
    return None


def _gradients(subject: Subject) -> Verdict | None:
    """The failure if a row's outputs have a gradient at the inputs of other rows, else None."""
    for mode, training in MODES.items():
        module = subject.build().train(training)
        x, tokens = subject.sequences(subject.middle, batch=BATCH)
        y = subject.run(module, x.requires_grad_(), tokens)
        if not y.requires_grad:
            return None  # the checks of gradients report this
        weights, _ = subject.sequences(subject.middle, batch=BATCH, seed=1)
        for row in range(BATCH):
            (gradient,) = subject.gradients((y[row] * weights[row]).sum(), [x])
            sizes = gradient.abs().amax((1, 2))
            allowed = subject.precision.tolerance * sizes.max().item()
            sizes[row] = 0
            if not sizes.max().item() <= allowed:
                return failed(
                    f"outputs of row {row} have a gradient of {sizes.max().item():.2g} at inputs of"
                    f" row {int(sizes.argmax())} ({mode} mode)",
                    row=row,
                )
    return None


class _Transposed(nn.Module):
    """A wrapper that exchanges batch and length for the mixer."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        y: Tensor = call_forward(self.mixer, x.transpose(0, 1), tokens.mT)
        return y.transpose(0, 1)


def _layout(subject: Subject, training: bool) -> str:
    """A remark if rows become independent once batch and length are exchanged."""
    x, tokens = subject.sequences(subject.lengths[-1])
    other = subject.sequences(x.shape[1], seed=1)[0]
    module = subject.build().train(training)
    if reads_tokens(module):
        return ""
    other[-1] = x[-1]  # in a causal mixer the first row, read as a position, cannot change
    with torch.no_grad():
        modules = [_Transposed(subject.maker.copied(module)) for _ in range(2)]
        y, z = (subject.run(m, each, tokens) for m, each in zip(modules, (x, other), strict=True))
    later = torch.cat([x[:, :1], subject.sequences(x.shape[1], seed=1)[0][:, 1:]], 1)
    with torch.no_grad():
        first = [
            subject.run(_Transposed(subject.maker.copied(module)), each, tokens)
            for each in (x, later)
        ]
    pairs = ((y[-1:], z[-1:]), (first[0][:, :1], first[1][:, :1]))  # rows, and causality
    if any(largest_change(*pair).relative > subject.precision.tolerance for pair in pairs):
        return ""
    return (
        "; it seems to read (length, batch, d_model), expected (batch, length, d_model): set"
        " batch_first=True, or --adapt layout=LBD"
    )


def _alone(subject: Subject, largest: float) -> Verdict:
    """Compare each row alone with the batch.

    Training mode is left out if the mixer is random there: a single row has other dropout masks.
    """
    alike = {}
    for mode, training in MODES.items():
        length = subject.middle if training else subject.lengths[-1]
        x, tokens = subject.sequences(length, batch=BATCH)
        module = subject.build().train(training)
        if training and draws(subject, module, length):
            continue
        together = subject.outputs(module, x, tokens)
        alone = [subject.outputs(module, x[i : i + 1], tokens[i : i + 1]) for i in range(BATCH)]
        change = largest_change(torch.cat(alone), together)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"output {change.position} of row {change.row} differs by {change} when the row is"
                f" alone ({mode} mode)",
                row=change.row,
                **change.facts,
            )
        alike[mode] = change.relative
    return passed(
        f"a row changes by at most {relative_text(largest)} of its size when other rows change"
        f" ({BATCH} and {CROWD} rows, evaluation and training mode), has no gradient at them, and"
        f" changes by {relative_text(max(alike.values()))} when it is alone"
        f" ({' and '.join(alike)} mode)"
    )
