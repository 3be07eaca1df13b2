"""Check that outputs and their gradients do not depend on later inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.models.calling import reads_tokens
from recollect.referee.cut import Cut, cut_rows, explained, least_scale, row_change
from recollect.referee.inputs import BATCH, LONG, Sequences
from recollect.referee.precision import Path
from recollect.referee.subject import SEEDS, Subject
from recollect.referee.verdict import (
    Misbehaviour,
    Verdict,
    failed,
    listed,
    passed,
    relative_text,
)
from recollect.seeding import READ, derive_seed

ROWS = 32
"""Rows of a batch of the longest sequences."""
CHUNK = 128
"""A length that is a multiple of common chunk lengths."""
DENSE = 64
"""Up to this length every cut is tried."""


@dataclass(frozen=True)
class Trial:
    """Sequences of one length, each with a cut: the position after which all inputs change.

    Random numbers of the mixer differ between trials, since dropout or a skipped layer may decide
    which code runs.
    """

    length: int
    cuts: tuple[int, ...]
    seed: int
    training: bool
    alone: bool = False
    """Whether the batch is a single row; a mixer may take another path then."""

    @property
    def where(self) -> str:
        """Length and mode, in words."""
        mode = f"{'training' if self.training else 'evaluation'} mode"
        return f"{self.length} positions, {mode}{', one row' * self.alone}"

    def draw(self, path: Path) -> int:
        """Return the seed of the mixer's random numbers on a path."""
        return derive_seed(path, self.length, self.seed, self.training) % READ


def causality(subject: Subject) -> Verdict:
    """Check that no output up to a position changes when all later inputs and token ids change.

    This is done in evaluation and in training mode, with gradients and the same dropout masks in
    the latter, and on fresh modules that no earlier input can have affected.
    """
    largest = 0.0
    for trial in _trials(subject):
        module = subject.build(trial.seed).train(trial.training)
        for cuts in batched(trial.cuts):
            rows = 1 if trial.alone else max(len(cuts), BATCH)
            given = subject.sequences(trial.length, batch=rows, seed=trial.seed)
            change, fault = _cut(subject, module, given, cuts, trial)
            if fault is not None:
                return fault
            largest = max(largest, change)
    ids = f" and token ids (0 to {subject.maker.vocab - 1:,})"
    tokens = ids if reads_tokens(module) else ""
    return passed(
        f"when later inputs{tokens} change, outputs change by at most {relative_text(largest)} of"
        f" their size ({_in_words(subject)}{_further(subject)}; a fault at other lengths alone is"
        f" not found; {len(SEEDS)} random weights; evaluation and training mode)"
    )


def batched(cuts: Sequence[int]) -> list[Sequence[int]]:
    """Split cuts into groups that fit one batch, one row for each cut."""
    size = max(ROWS, DENSE)
    return [cuts[i : i + size] for i in range(0, len(cuts), size)]


def _cut(
    subject: Subject, module: nn.Module, given: Sequences, cuts: Sequence[int], trial: Trial
) -> tuple[float, Verdict | None]:
    """The largest relative change, and the failure or None.

    A change may come from another row, so a failing cut is tried again with other rows unchanged.
    """
    other, draw = other_sequences(subject, given, trial.seed), trial.draw(subject.path)
    expected = subject.outputs(module, *given, seed=draw)
    _require_finite(expected, trial)
    rows = range(len(cuts))
    both = cut_rows(given, other, dict(zip(rows, cuts, strict=True)))
    changed = subject.outputs(module, *both, seed=draw)
    ends = torch.tensor(cuts, device=expected.device)[:, None]
    past = torch.arange(trial.length, device=expected.device) <= ends
    if torch.equal(changed[: len(cuts)][past], expected[: len(cuts)][past]):
        return 0.0, None
    least, largest = least_scale(subject, expected, changed), 0.0
    for row, last in zip(rows, cuts, strict=True):
        change = row_change(changed, expected, last + 1, row, least)
        cut = Cut(subject, module, given, other, row, last, draw)
        if not cut.is_fault(change):
            largest = max(largest, change.relative)
        elif cut.is_fault(cut.past_change()):
            return 0.0, explained(cut, trial.where)
    return largest, None


def _require_finite(y: Float[Tensor, "batch L d_model"], trial: Trial) -> None:
    finite = y.isfinite().all(-1).all(0)
    if not finite.all():
        raise Misbehaviour(f"output {int(finite.int().argmin())} is not finite ({trial.where})")


def causal_gradients(subject: Subject) -> Verdict:
    """Check that gradients of outputs up to a position are zero at all later inputs.

    Training may run another backward pass than evaluation, so each mode is judged.
    """
    largest = 0.0
    for trial in _gradient_trials(subject):
        module = subject.build(trial.seed).train(trial.training)
        x, tokens = subject.sequences(trial.length, seed=trial.seed)
        y = subject.run(module, x.requires_grad_(), tokens, seed=trial.draw(subject.path))
        weights, _ = subject.sequences(trial.length, seed=trial.seed + len(SEEDS))
        (whole,) = subject.gradients((y * weights).sum(), [x])
        least = subject.precision.least_scale(whole)
        for last in trial.cuts:
            past = slice(last + 1)
            (gradient,) = subject.gradients((y[:, past] * weights[:, past]).sum(), [x])
            sizes = gradient.abs().amax((0, 2))
            scale = max(sizes.max().item(), least)
            leak = sizes[last + 1 :].max().item()
            if not leak <= subject.precision.tolerance * scale:
                return _gradient_explained(subject, y * weights, x, last, trial.where)
            largest = max(largest, leak / scale if scale else 0.0)
    return passed(
        f"gradients at later inputs are at most {relative_text(largest)} of the largest gradient"
        f" ({_in_words(subject)}; {len(SEEDS)} random weights; evaluation and training mode)"
    )


def _gradient_trials(subject: Subject) -> Iterator[Trial]:
    """The trials of gradients: each mode with its own weights, and training alone on the paths of
    training. For long sequences each mode takes a part of the cuts."""
    lengths = [n for n in subject.lengths if n > 1]
    if subject.path:
        lengths = sorted({max(lengths[0], subject.middle), lengths[-1]})
    for length in lengths[:1] if subject.path == "autocast" else lengths:
        for seed, training in zip(SEEDS, (False, True), strict=True):
            if training or not subject.path:
                ends = cuts(length)[training :: len(SEEDS)] if length > LONG else cuts(length)
                yield Trial(length, tuple(ends), seed, training)


def cuts(length: int) -> list[int]:
    """Return cuts: the first position, one in the middle, the second to last, and ends of chunks of
    common lengths."""
    ends = (0, length // 3, 15, 31, 63, 127, 255, length - 2)
    return sorted({n for n in ends if n <= length - 2})


def all_cuts(length: int) -> list[int]:
    """Return every cut up to length `DENSE`; for longer sequences every cut in the second half.

    There a chunk of any length, or a multiple of it, ends at one of these cuts.
    """
    return list(range(0 if length <= DENSE else length // 2 - 1, length - 1))


def _trials(subject: Subject) -> Iterator[Trial]:
    """The trials, short lengths first, because their failures are easiest to understand.

    The longest length takes most of the time, so it has one seed per mode: faults that occur only
    there, such as ends of chunks, do not depend on the weights.
    """
    first, second = SEEDS
    *short, longest = (n for n in subject.lengths if n > 1)
    alone = len(subject.config.mixer) == 1  # the mixers of a pattern are also judged alone
    dense = all_cuts if alone else cuts
    if subject.path == "autocast":
        lengths = [*short, *(n for n in subject.chunk_lengths if n == CHUNK)] or [longest]
        yield from (Trial(n, tuple(cuts(n)), first, training=True) for n in lengths)
    elif subject.path == "float32":
        for length in sorted({*short, *subject.chunk_lengths}):
            yield Trial(length, tuple(cuts(length)), first, training=True)
            if length in (LONG, CHUNK):
                yield Trial(length, tuple(cuts(length)), second, training=False)
        yield Trial(longest, tuple(dense(longest)), second, training=True)
    else:
        for length in short:
            yield Trial(length, tuple(dense(length)), first, training=False)
            yield Trial(length, tuple(cuts(length)), second, training=False)
            yield Trial(length, tuple(dense(length)), first, training=True)
        yield Trial(longest, tuple(cuts(longest)), first, training=False)
        yield Trial(longest, tuple(cuts(longest)), second, training=True)
    for training in (False, True) if subject.path != "autocast" else ():
        yield Trial(subject.middle, ((subject.middle - 1) // 2,), first, training, alone=True)


def other_sequences(subject: Subject, given: Sequences, seed: int) -> Sequences:
    """Return different inputs and, at every position, a different token id."""
    batch, length = given[1].shape
    x, tokens = subject.sequences(length, batch=batch, seed=seed + len(SEEDS))
    return x, torch.where(tokens == given[1], (tokens + 1) % subject.maker.vocab, tokens)


def _gradient_explained(
    subject: Subject,
    weighted: Float[Tensor, "batch L d_model"],
    x: Float[Tensor, "batch L d_model"],
    last: int,
    where: str,
) -> Verdict:
    """The failure with the output that has the largest gradient at a later input."""
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
        f" {scale:.2g} ({where})",
        input=position,
        output=output,
        change=size,
    )


def _in_words(subject: Subject) -> str:
    return f"{listed([length for length in subject.lengths if length > 1])} positions"


def _further(subject: Subject) -> str:
    """The lengths that are only tested in float32."""
    more = [length for length in subject.chunk_lengths if length not in subject.lengths]
    return f", in float32 also {listed(more)}" if more else ""
