"""No output depends on what comes later: neither its value, nor its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor, nn

from recollect.models.calling import reads_tokens
from recollect.referee.subject import LONG, SEEDS, VOCAB, Sequences, Subject
from recollect.referee.verdict import (
    Change,
    Misbehaviour,
    Verdict,
    failed,
    largest_change,
    passed,
    share,
)

MODES = (False, True)
"""Whether in training mode."""


def causality(subject: Subject) -> Verdict:
    """Change all inputs after a position, and their token ids: no output up to it changes.

    In evaluation and in training mode, with gradients there as in training, and with the same
    dropout in both runs. Each run has a fresh module, which earlier inputs cannot have set.
    """
    largest = 0.0
    for length, seed, training in _trials(subject):
        module = subject.build(seed).train(training)
        given = subject.sequences(length, seed=seed)
        other = other_sequences(subject, given, seed)
        expected = subject.outputs(module, *given)
        for last in cuts(length):
            y = subject.outputs(module, *replaced(given, other, slice(last + 1, None)))
            change = _past_change(subject, y, expected, last + 1)
            if change.relative > subject.precision.tolerance:
                mode = "training" if training else "evaluation"
                where = f"{length} positions, {mode} mode"
                return _explained(subject, module, given, other, last, where)
            largest = max(largest, change.relative)
    tokens = " and token ids" if reads_tokens(module) else ""
    return passed(
        f"whatever inputs{tokens} follow, outputs change by at most {share(largest)} of their size"
        f" ({_in_words(subject)}; {len(SEEDS)} random weights; evaluation and training mode)"
    )


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
    return sorted({n for n in (0, length // 3, 63, 127, 255, length - 2) if n <= length - 2})


def _trials(subject: Subject) -> Iterator[tuple[int, int, bool]]:
    """Length, seed of the weights, whether in training mode; short lengths first: their failures
    are the easiest to understand. The longest, which takes most of the time, has one seed in each
    mode: what goes wrong there alone, such as chunks that end, does not depend on the weights."""
    *short, longest = (n for n in subject.lengths if n > 1)
    for length in short:
        yield from ((length, seed, False) for seed in SEEDS)
        yield length, SEEDS[0], True
    yield from ((longest, seed, training) for seed, training in zip(SEEDS, MODES, strict=True))


def other_sequences(subject: Subject, given: Sequences, seed: int) -> Sequences:
    """Other inputs and, at every position, another token id."""
    batch, length = given[1].shape
    x, shift = subject.sequences(length, batch=batch, seed=seed + len(SEEDS))
    return x, (given[1] + 1 + shift % (VOCAB - 1)) % VOCAB


def replaced(given: Sequences, other: Sequences, where: slice) -> Sequences:
    """The given inputs and token ids, with those of others in some places."""
    x, tokens = given[0].clone(), given[1].clone()
    x[:, where], tokens[:, where] = other[0][:, where], other[1][:, where]
    return x, tokens


def _past_change(
    subject: Subject,
    y: Float[Tensor, "batch L d_model"],
    expected: Float[Tensor, "batch L d_model"],
    length: int,
) -> Change:
    """Among the first outputs; next to much larger later ones, their rounding counts as none."""
    least_scale = subject.precision.least_scale(expected)
    return largest_change(y[:, :length], expected[:, :length], least_scale=least_scale)


def _explained(
    subject: Subject, module: nn.Module, given: Sequences, other: Sequences, last: int, where: str
) -> Verdict:
    """Which single input, or token id, changes an earlier output most."""
    expected, again = subject.outputs(module, *given), subject.outputs(module, *given)
    if _past_change(subject, again, expected, last + 1).relative > subject.precision.tolerance:
        raise Misbehaviour("a second pass over the same input gives another output")
    changes = []
    for position in range(last + 1, given[1].shape[1]):
        x, tokens = replaced(given, other, slice(position, position + 1))
        for kind, sequences in ("input", (x, given[1])), ("token id", (given[0], tokens)):
            y = subject.outputs(module, *sequences)
            changes.append((_past_change(subject, y, expected, position), kind, position))
    change, kind, position = max(changes, key=lambda item: item[0].relative)
    what = f"{kind} {position} changes"
    if change.relative <= subject.precision.tolerance:
        kind, position, what = "inputs", last + 1, f"inputs {last + 1} and later together change"
        y = subject.outputs(module, *replaced(given, other, slice(position, None)))
        change = _past_change(subject, y, expected, position)
    facts = {"changed": kind, "input": position, **change.facts}
    return failed(f"{what} output {change.position} by {change} ({where})", **facts)


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
