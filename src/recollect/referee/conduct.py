"""How a mixer behaves as a module: shapes, lengths, rows of a batch, parameters, randomness."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recollect.referee.subject import BATCH, Misbehaviour, Subject
from recollect.referee.verdict import (
    Verdict,
    failed,
    largest_change,
    not_offered,
    passed,
    share,
)

MODES = {"evaluation": False, "training": True}


def shape_and_type(subject: Subject) -> Verdict:
    """The output has the input's shape and type and is finite."""
    if not subject.runs:
        raise next(iter(subject.failures.values()))
    dtype = torch.float32
    for perturbed in (False, True):
        module = subject.build(dtype=dtype, perturbed=perturbed)
        for batch in (1, BATCH):
            x, tokens = subject.sequences(subject.lengths[-1], batch=batch, dtype=dtype)
            y = subject.run(module, x, tokens)
            if y.dtype != x.dtype or y.device != x.device:
                return failed(
                    f"an input of {x.dtype} on {x.device} gives an output of {y.dtype} on"
                    f" {y.device}"
                )
            if not y.isfinite().all():
                position = int(y.isfinite().all(-1).all(0).int().argmin())
                return failed(f"output {position} is not finite", output=position)
    return passed("(batch, length, d_model) float32 to the same, finite, for 1 and 3 rows")


def lengths(subject: Subject) -> Verdict:
    """It runs at every length, and a shorter sequence gives the beginning of the longer one's
    output; more than it was built for raises `ValueError`, or works as if built for it."""
    if subject.failures:
        first, error = next(iter(subject.failures.items()))
        failing = ", ".join(map(str, subject.failures))
        return failed(f"it fails at length {failing}: {error}", length=first)
    module, (x, tokens) = subject.build(), subject.sequences(subject.max_len)
    with torch.no_grad():
        whole = subject.run(module, x, tokens)
        for length in subject.lengths:
            y = subject.run(module, x[:, :length], tokens[:, :length])
            change = largest_change(y, whole[:, :length])
            if change.relative > subject.precision.tolerance:
                return failed(
                    f"output {change.position} of {length} positions differs from that of the same"
                    f" inputs among {subject.max_len} by {change}",
                    length=length,
                    **change.facts,
                )
        return _one_longer(subject, module)


def _one_longer(subject: Subject, module: nn.Module) -> Verdict:
    length = subject.max_len + 1
    fine = f"{', '.join(map(str, subject.lengths))} positions give the same beginnings"
    x, tokens = subject.sequences(length)
    try:
        y = subject.run(module, x, tokens)
    except Misbehaviour as error:
        if not subject.takes("max_len"):
            return failed(str(error), length=length)
        if isinstance(error.__cause__, ValueError):
            return passed(f"{fine}; one above max_len raises ValueError")
        return failed(f"{error}; expected a ValueError for a length above max_len", length=length)
    expected = subject.run(_built_for(length, subject, module), x, tokens)
    change = largest_change(y, expected)
    if change.relative > subject.precision.tolerance:
        return failed(
            f"built with max_len={subject.max_len} it takes {length} positions, and gives output"
            f" {change.position} that differs from that of max_len={length} by {change}; expected a"
            " ValueError",
            length=length,
            **change.facts,
        )
    return passed(f"{fine}, and one more than it was built for is no exception")


def _built_for(length: int, subject: Subject, module: nn.Module) -> nn.Module:
    """The module with the same weights, but built for another length."""
    other = subject.build(max_len=length)
    try:
        other.load_state_dict(module.state_dict())
    except RuntimeError:
        raise Misbehaviour(
            f"it has weights for {subject.max_len} positions, but takes {length}; expected a"
            " ValueError"
        ) from None
    return other


def rows(subject: Subject) -> Verdict:
    """Change one row of a batch: no other row's output changes; alone a row gives the same."""
    tolerance, length = subject.precision.tolerance, subject.lengths[-1]
    largest = 0.0
    for mode, training in MODES.items():
        module = subject.build().train(training)
        x, tokens = subject.sequences(length)
        other_x, other_tokens = subject.sequences(length, seed=1)
        with torch.no_grad():
            expected = subject.run(module, x, tokens)
            for row in range(BATCH):
                mixed_x, mixed_tokens = x.clone(), tokens.clone()
                mixed_x[row], mixed_tokens[row] = other_x[row], other_tokens[row]
                y = subject.run(module, mixed_x, mixed_tokens)
                others = [i for i in range(BATCH) if i != row]
                change = largest_change(y[others], expected[others])
                if change.relative > tolerance:
                    hit = others[change.row]
                    return failed(
                        f"another row {row} changes output {change.position} of row {hit} by"
                        f" {change} ({mode} mode)",
                        changed_row=row,
                        row=hit,
                        **change.facts,
                    )
                largest = max(largest, change.relative)
    return _alone(subject, largest)


def _alone(subject: Subject, largest: float) -> Verdict:
    """In training mode only if nothing is random there: a batch of one row has other dropout."""
    x, tokens = subject.sequences(subject.lengths[-1])
    alike = {}
    for mode, training in MODES.items():
        module = subject.build().train(training)
        with torch.no_grad():
            together = subject.run(module, x, tokens)
            if training and largest_change(subject.run(module, x, tokens, seed=1), together).size:
                continue
            alone = [subject.run(module, x[i : i + 1], tokens[i : i + 1]) for i in range(BATCH)]
        change = largest_change(torch.cat(alone), together)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"row {change.row} alone gives output {change.position} that differs by {change}"
                f" ({mode} mode)",
                row=change.row,
                **change.facts,
            )
        alike[mode] = change.relative
    return passed(
        f"other rows change a row by at most {share(largest)} of its size (evaluation and training"
        f" mode), being alone by {share(max(alike.values()))} ({' and '.join(alike)} mode)"
    )


def gradients(subject: Subject) -> Verdict:
    """Every parameter has a finite gradient, at the start too, and not always zero."""
    silent: set[str] | None = None
    for perturbed, seed in ((False, 0), (True, 0), (True, 1)):
        module = subject.build(seed, dtype=torch.float32, perturbed=perturbed).train()
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trained:
            return not_offered("it has no trained parameters")
        x, tokens = subject.sequences(subject.lengths[-1], seed=seed, dtype=torch.float32)
        weights, _ = subject.sequences(x.shape[1], seed=seed + 1, dtype=torch.float32)
        y = subject.run(module, x, tokens, seed=seed)
        found = subject.gradients((y * weights).sum(), list(trained.values()))
        zero = set()
        for name, gradient in zip(trained, found, strict=True):
            if not gradient.isfinite().all():
                when = "" if perturbed else ", as it is initialised"
                return failed(f"{name} has a gradient that is not finite{when}", parameter=name)
            if not gradient.any():
                zero.add(name)
        silent = zero if silent is None else silent & zero
    if silent:
        return failed(
            f"the gradient of {', '.join(sorted(silent))} is always zero",
            parameters=sorted(silent),
        )
    return passed(f"{len(trained)} parameter tensors, each with a finite gradient that moves it")


def determinism(subject: Subject) -> Verdict:
    """The same seed gives the same weights and outputs; in evaluation mode any seed does."""
    one, again = (subject.build(3, perturbed=False) for _ in range(2))
    for name, weights in _tensors(one).items():
        if not torch.equal(weights, _tensors(again)[name]):
            return failed(f"built twice from one seed, {name} differs", parameter=name)
    x, tokens = subject.sequences(subject.lengths[-1])
    for mode, training in MODES.items():
        one, again = (subject.build().train(training) for _ in range(2))
        first, second = (subject.run(module, x, tokens) for module in (one, again))
        trials = {"in a second copy": second}
        if not training:
            trials["at a second call"] = subject.run(one, x, tokens)
            trials["under another seed"] = subject.run(one, x, tokens, seed=1)
        for when, y in trials.items():
            change = largest_change(y, first)
            if change.size:
                return failed(
                    f"output {change.position} of the same input differs {when} by {change}"
                    f" ({mode} mode)",
                    **change.facts,
                )
    return passed("one seed, one set of weights and one output, to the last bit")


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())
