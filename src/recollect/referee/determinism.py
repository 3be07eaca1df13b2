"""Check that weights and outputs depend on the seed alone."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from recollect.referee.building import tensors
from recollect.referee.conduct import MODES
from recollect.referee.generators import misused
from recollect.referee.lengths import compared
from recollect.referee.subject import Subject
from recollect.referee.verdict import Verdict, failed, largest_change, passed
from recollect.tensors import shared_weights


def determinism(subject: Subject) -> Verdict:
    """Check that the same seed gives the same weights and outputs.

    In evaluation mode outputs must not depend on the seed, nor on whether gradients are recorded.
    Two modules must not share weights, and random numbers must be PyTorch's, from a seed that the
    mixer does not set.
    """
    parameters = dict(subject.build().named_parameters())
    empty = [name for name in subject.maker.uninitialised if name in parameters]
    if empty:
        return failed(
            f"not initialised: {', '.join(empty)}; torch.empty leaves arbitrary values, so two"
            " builds from one seed differ: set values in the constructor (all else was judged with"
            " zeros)",
            parameters=empty,
        )
    if (fault := _shared(subject) or _misused(subject)) is not None:
        return fault
    one, again = (tensors(subject.maker.build_fresh(3, subject.precision.dtype)) for _ in range(2))
    for name, weights in one.items():
        if not torch.equal(weights, again[name]):
            return failed(f"{name} differs between two builds from one seed", parameter=name)
    fault = _same_outputs(subject) or _without_gradients(subject)
    return fault or passed("the same seed gives the same weights and outputs, to the last bit")


def _shared(subject: Subject) -> Verdict | None:
    """The failure if two modules share weights, else None."""
    names = shared_weights(*(subject.maker.construct(seed) for seed in (0, 1)))
    if not names:
        return None
    return failed(
        f"two modules share {', '.join(names)}, so training one changes the other: create weights"
        " in the constructor, not in a default argument, a class attribute or a global variable",
        parameters=names,
    )


def _misused(subject: Subject) -> Verdict | None:
    """The failure if the constructor or forward misuses random generators, else None."""
    x, tokens = subject.sequences(subject.middle)

    def forward(seed: int, *, training: bool) -> Tensor:
        with torch.set_grad_enabled(training):
            return subject.run(subject.build().train(training), x, tokens, seed=seed)

    problem = misused("the constructor", subject.maker.construct)
    for training in MODES.values():
        problem = problem or misused("forward", partial(forward, training=training))
    return None if problem is None else failed(problem)


def _same_outputs(subject: Subject) -> Verdict | None:
    """The failure if outputs of the same input differ, also with a copy whose uninitialised buffers
    have other values; else None."""
    for mode, training in MODES.items():
        x, tokens = subject.sequences(subject.middle if training else subject.lengths[-1])
        one, again = (subject.build().train(training) for _ in range(2))
        for name in subject.maker.uninitialised:
            tensors(again)[name].fill_(1)
        fresh = subject.maker.copied(one)
        with torch.set_grad_enabled(training):
            first, second = (subject.run(module, x, tokens) for module in (one, again))
            trials = {"in a second copy": second}
            if not training:
                trials["in a second call"] = subject.run(one, x, tokens)
                trials["with another seed"] = subject.outputs(fresh, x, tokens, seed=1)
        for when, y in trials.items():
            change = largest_change(y, first)
            if change.size:
                return failed(
                    f"output {change.position} of the same input differs {when} by {change}"
                    f" ({mode} mode)",
                    **change.facts,
                )
    return None


def _without_gradients(subject: Subject) -> Verdict | None:
    """The failure if evaluation computes otherwise while gradients are recorded, else None.

    Modules with other weights are called before: what they leave behind would be used here.
    """
    x, tokens = subject.sequences(subject.middle)
    with torch.no_grad():
        subject.run(subject.build(0), x, tokens)
        y = subject.run(subject.build(1), x, tokens)
    with torch.enable_grad():
        expected = subject.run(subject.build(1), x, tokens)
    change = compared(subject, y, expected, expected)
    if change.relative <= subject.precision.tolerance:
        return None
    return failed(
        f"output {change.position} of the same input differs by {change} when no gradients are"
        " recorded (evaluation mode)",
        **change.facts,
    )
