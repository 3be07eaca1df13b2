"""No output depends on what comes later: neither its value, nor its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.models.calling import reads_tokens
from recollect.referee.inputs import BATCH, LONG, VOCAB, Sequences
from recollect.referee.subject import SEEDS, Subject
from recollect.referee.verdict import (
    Change,
    Misbehaviour,
    Verdict,
    failed,
    largest_change,
    passed,
    share,
)

ROWS = 32
"""Of a batch of the longest sequences."""
CHUNK = 128
"""A length of whole chunks."""
ROUNDED, HARDLY, ABOVE_NOISE = 2**-8, 0.1, 4
"""In half precision a change counts as rounding if it is at most this share of the outputs; or if
inputs that change by so small a part change the outputs by more than one part in so many."""
DENSE = 64
"""Up to this length every cut is tried."""


@dataclass(frozen=True)
class Trial:
    """Sequences of one length, each with its own cut: the position after which all changes."""

    length: int
    cuts: tuple[int, ...]
    seed: int
    training: bool

    @property
    def where(self) -> str:
        """In words."""
        return f"{self.length} positions, {'training' if self.training else 'evaluation'} mode"


def causality(subject: Subject) -> Verdict:
    """Change all inputs after a position, and their token ids: no output up to it changes.

    In evaluation and in training mode, with gradients there as in training, and with the same
    dropout in both runs. Each run has a fresh module, which earlier inputs cannot have set.
    """
    largest = 0.0
    for trial in _trials(subject):
        module = subject.build(trial.seed).train(trial.training)
        for cuts in batched(trial.cuts):
            given = subject.sequences(trial.length, batch=max(len(cuts), BATCH), seed=trial.seed)
            change, fault = _cut(subject, module, given, cuts, trial)
            if fault is not None:
                return fault
            largest = max(largest, change)
    tokens = " and token ids" if reads_tokens(module) else ""
    return passed(
        f"whatever inputs{tokens} follow, outputs change by at most {share(largest)} of their size"
        f" ({_in_words(subject)}; {len(SEEDS)} random weights; evaluation and training mode)"
    )


def batched(cuts: Sequence[int]) -> list[Sequence[int]]:
    """Cuts that are tried at once, each in a row."""
    size = max(ROWS, DENSE)
    return [cuts[i : i + size] for i in range(0, len(cuts), size)]


def _cut(
    subject: Subject, module: nn.Module, given: Sequences, cuts: Sequence[int], trial: Trial
) -> tuple[float, Verdict | None]:
    """The largest change, as a share, and what is wrong.

    What changes a row may be another row, which is judged elsewhere: a cut that seems to fail is
    tried again with the other rows as they were.
    """
    other = other_sequences(subject, given, trial.seed)
    expected = subject.outputs(module, *given)
    _require_finite(expected, trial)
    rows = range(len(cuts))
    changed = subject.outputs(module, *_cut_rows(given, other, dict(zip(rows, cuts, strict=True))))
    ends = torch.tensor(cuts, device=expected.device)[:, None]
    past = torch.arange(trial.length, device=expected.device) <= ends
    if torch.equal(changed[: len(cuts)][past], expected[: len(cuts)][past]):
        return 0.0, None
    least, largest = _least_scale(subject, expected, changed), 0.0
    for row, last in zip(rows, cuts, strict=True):
        change = _past_change(changed, expected, last + 1, row, least)
        if _is_fault(subject, module, given, other, row, last, change):
            again = _row_change(subject, module, given, other, row, last)
            if _is_fault(subject, module, given, other, row, last, again):
                return 0.0, _explained(subject, module, given, other, row, last, trial)
        else:
            largest = max(largest, change.relative)
    return largest, None


def _is_fault(
    subject: Subject,
    module: nn.Module,
    given: Sequences,
    other: Sequences,
    row: int,
    last: int,
    change: Change,
) -> bool:
    """Whether a change of earlier outputs is more than rounding."""
    if change.relative > subject.precision.tolerance:
        return True
    if not subject.precision.coarse or change.relative <= ROUNDED:
        return False
    hardly = given[0] + HARDLY * (other[0] - given[0]), given[1]
    noise = _row_change(subject, module, given, hardly, row, last)
    return change.size > ABOVE_NOISE * noise.size


def _row_change(
    subject: Subject, module: nn.Module, given: Sequences, other: Sequences, row: int, last: int
) -> Change:
    """Of the outputs of a row up to a position, when its inputs after it change."""
    expected = subject.outputs(module, *given)
    y = subject.outputs(module, *_cut_rows(given, other, {row: last}))
    return _past_change(y, expected, last + 1, row, _least_scale(subject, y, expected))


def _require_finite(y: Float[Tensor, "batch L d_model"], trial: Trial) -> None:
    finite = y.isfinite().all(-1).all(0)
    if not finite.all():
        raise Misbehaviour(f"output {int(finite.int().argmin())} is not finite ({trial.where})")


def _cut_rows(given: Sequences, other: Sequences, cuts: Mapping[int, int]) -> Sequences:
    """Some rows with other inputs after a position, by row."""
    x, tokens = given[0].clone(), given[1].clone()
    for row, last in cuts.items():
        x[row, last + 1 :] = other[0][row, last + 1 :]
        tokens[row, last + 1 :] = other[1][row, last + 1 :]
    return x, tokens


def causal_gradients(subject: Subject) -> Verdict:
    """The gradients of outputs up to a position vanish at all inputs after it."""
    largest = 0.0
    for seed in SEEDS:
        module = subject.build(seed)
        for length in (n for n in subject.lengths if n > 1):
            x, tokens = subject.sequences(length, seed=seed)
            y = subject.run(module, x.requires_grad_(), tokens)
            weights, _ = subject.sequences(length, seed=seed + len(SEEDS))
            (whole,) = subject.gradients((y * weights).sum(), [x])
            least_scale = subject.precision.least_scale(whole)
            # where sequences are long, the seeds share the cuts among them
            for last in cuts(length)[seed :: len(SEEDS)] if length > LONG else cuts(length):
                past = slice(last + 1)
                (gradient,) = subject.gradients((y[:, past] * weights[:, past]).sum(), [x])
                sizes = gradient.abs().amax((0, 2))
                scale = max(sizes.max().item(), least_scale)
                leak = sizes[last + 1 :].max().item()
                if not leak <= subject.precision.tolerance * scale:
                    return _gradient_explained(subject, y * weights, x, last)
                largest = max(largest, leak / scale if scale else 0.0)
    return passed(
        f"gradients by later inputs are at most {share(largest)} of the largest gradient"
        f" ({_in_words(subject)}; {len(SEEDS)} random weights)"
    )


def cuts(length: int) -> list[int]:
    """Positions after which all changes: the first, one within, the last but one, and where chunks
    of usual sizes end."""
    ends = (0, length // 3, 15, 31, 63, 127, 255, length - 2)
    return sorted({n for n in ends if n <= length - 2})


def all_cuts(length: int) -> list[int]:
    """Of a length of at most `DENSE` every one; of a longer one those beyond half of it, so that
    chunks of each size from there to the whole, and from `DENSE` to half, end at one."""
    return list(range(0 if length <= DENSE else length // 2 - 1, length - 1))


def _trials(subject: Subject) -> Iterator[Trial]:
    """Short lengths first: their failures are the easiest to understand. The longest, which takes
    most of the time, has one seed in each mode: what goes wrong there alone, such as chunks that
    end, does not depend on the weights. What takes the path of training alone is tried there."""
    first, second = SEEDS
    *short, longest = (n for n in subject.lengths if n > 1)
    alone = len(subject.config.mixer) == 1  # the mixers of a pattern are judged alone too
    dense = all_cuts if alone else cuts
    if subject.path == "autocast":
        lengths = [*short, *(n for n in subject.chunk_lengths if n == CHUNK)]
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


def other_sequences(subject: Subject, given: Sequences, seed: int) -> Sequences:
    """Other inputs and, at every position, another token id."""
    batch, length = given[1].shape
    x, shift = subject.sequences(length, batch=batch, seed=seed + len(SEEDS))
    return x, (given[1] + 1 + shift % (VOCAB - 1)) % VOCAB


def _least_scale(subject: Subject, *outputs: Float[Tensor, "batch L d_model"]) -> float:
    """Beside much larger outputs, the rounding of others counts as none."""
    return max(map(subject.precision.least_scale, outputs))


def _past_change(
    y: Float[Tensor, "batch L d_model"],
    expected: Float[Tensor, "batch L d_model"],
    length: int,
    row: int,
    least_scale: float,
) -> Change:
    """Among the first outputs of a row."""
    rows = slice(row, row + 1)
    return largest_change(y[rows, :length], expected[rows, :length], least_scale=least_scale)


def _explained(
    subject: Subject,
    module: nn.Module,
    given: Sequences,
    other: Sequences,
    row: int,
    last: int,
    trial: Trial,
) -> Verdict:
    """Which single input, or token id, of a row changes an earlier output most."""
    alone = _alone(subject, module, given, other, row, last)
    if alone is not None:
        (given, other), row = alone, 0

    def past_change(changed: Sequences, length: int) -> Change:
        y = subject.outputs(module, *changed)
        return _past_change(y, expected, length, row, _least_scale(subject, y, expected))

    expected = subject.outputs(module, *given)
    if past_change(given, last + 1).relative > subject.precision.tolerance:
        raise Misbehaviour("a second pass over the same input gives another output")
    changes = []
    for position in range(last + 1, given[1].shape[1]):
        x, tokens = given[0].clone(), given[1].clone()
        x[row, position], tokens[row, position] = other[0][row, position], other[1][row, position]
        for kind, sequences in ("input", (x, given[1])), ("token id", (given[0], tokens)):
            changes.append((past_change(sequences, position), kind, position))
    change, kind, position = max(changes, key=lambda item: item[0].relative)
    what = f"{kind} {position} changes"
    if not subject.precision.coarse and change.relative <= subject.precision.tolerance:
        kind, position, what = "inputs", last + 1, f"inputs {last + 1} and later together change"
        change = past_change(_cut_rows(given, other, {row: last}), position)
    facts = {"changed": kind, "input": position, **change.facts}
    return failed(f"{what} output {change.position} by {change} ({trial.where})", **facts)


def _alone(
    subject: Subject, module: nn.Module, given: Sequences, other: Sequences, row: int, last: int
) -> tuple[Sequences, Sequences] | None:
    """The row as a batch of its own, if its earlier outputs change there too."""
    one, two = ((x[row : row + 1], tokens[row : row + 1]) for x, tokens in (given, other))
    change = _row_change(subject, module, one, two, 0, last)
    return (one, two) if _is_fault(subject, module, one, two, 0, last, change) else None


def _gradient_explained(
    subject: Subject,
    weighted: Float[Tensor, "batch L d_model"],
    x: Float[Tensor, "batch L d_model"],
    last: int,
) -> Verdict:
    """Which output has the largest gradient by a later input."""
    leaks = []
    for output in range(last + 1):
        (gradient,) = subject.gradients(weighted[:, output].sum(), [x])
        sizes = gradient.abs().amax((0, 2))
        later = sizes[output + 1 :].nan_to_num(math.inf)
        position = int(later.argmax())
        leaks.append((later[position].item(), sizes.max().item(), output, output + 1 + position))
    size, scale, output, position = max(leaks)
    return failed(
        f"output {output} has a gradient of {size:.2g} by input {position}, where its gradients"
        f" reach {scale:.2g} ({x.shape[1]} positions)",
        input=position,
        output=output,
        change=size,
    )


def _in_words(subject: Subject) -> str:
    *most, last = [str(length) for length in subject.lengths if length > 1]
    return f"{', '.join(most)} and {last} positions" if most else f"{last} positions"
