"""Check that the step form equals the parallel form and is pure."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.models.calling import call_initial_state
from recollect.referee.inputs import BATCH, Sequences
from recollect.referee.layers import has_step
from recollect.referee.precision import DOUBLE, Precision, measure_precision
from recollect.referee.state import refuse_growth_outside_tensors
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Misbehaviour,
    Verdict,
    failed,
    largest_change,
    not_measured,
    not_offered,
    passed,
    relative_text,
)
from recollect.referee.walk import snapshot, walk

LOOSER = 10
"""Factor on the tolerance, since a recurrence and a parallel form round differently."""
STEP_FORM = ("initial_state", "step")
SHARED, TOTAL = 5, 12
"""Length of the common beginning of two sequences, and their total length."""


def step_form(subject: Subject) -> Verdict:
    """Check that steps give the outputs of the parallel form."""
    precision = _precision(subject)
    module = subject.build(dtype=precision.dtype)
    if not has_step(module):
        return not_offered(_missing(module))
    x, tokens = subject.sequences(subject.lengths[-1], dtype=precision.dtype)
    with torch.no_grad():
        expected = subject.run(module, x, tokens)
        y, _ = run_steps(subject, module, x, tokens)
    allowed = LOOSER * precision.tolerance
    note = "" if precision == subject.precision else f" ({precision})"
    scale = expected.abs().max().item()
    largest = 0.0
    for t in range(x.shape[1]):
        change = largest_change(y[:, t : t + 1], expected[:, t : t + 1], least_scale=scale)
        if change.relative > allowed:
            return failed(
                f"output {t} of the step form differs from the parallel form by {change}{note}"
                f"{_exchanged(subject, module, (x, tokens), expected, allowed)}",
                **{**change.facts, "output": t},
            )
        largest = max(largest, change.relative)
    return passed(
        f"over {x.shape[1]} positions it differs from the parallel form by at most"
        f" {relative_text(largest)} of the largest output{note}"
    )


def _missing(module: nn.Module) -> str:
    """Describe which method of the step form is missing."""
    there = [name for name in STEP_FORM if hasattr(module, name)]
    if len(there) != 1:  # none, or a layer pattern in which some mixers lack them
        return "the mixer has no initial_state and step"
    (other,) = (name for name in STEP_FORM if name not in there)
    return f"the mixer has {there[0]}, but no {other}: a step form needs both"


def pure_steps(subject: Subject) -> Verdict:
    """Check that a step modifies neither the given state nor the module.

    Two sequences that continue from one state must not affect each other. The past must be in
    tensors, so that it can be compared.
    """
    precision = _precision(subject)
    module = subject.build(dtype=precision.dtype)
    if not has_step(module):
        return not_offered(_missing(module))
    one, other = (subject.sequences(TOTAL, seed=i, dtype=precision.dtype) for i in (0, 1))
    for mine, its in zip(other, one, strict=True):
        mine[:, :SHARED] = its[:, :SHARED]
    with torch.no_grad():
        fault = _overwriting(subject, one) or _disturbing(subject, precision, one, other)
        if fault is not None:
            return fault
        found = walk(run_steps(subject, subject.build(dtype=precision.dtype), *one)[1])
    undisturbed = "two sequences that continue from one state do not affect each other"
    for path, kind in found.opaque.items():
        return not_measured(
            f"{path} holds a {kind}, whose content cannot be read, so a step might overwrite it or"
            f" keep the past in it; {undisturbed}"
        )
    loops = f" ({found.cycles[0]} refers back to an object around it)" if found.cycles else ""
    return passed(f"steps do not modify the given state, and {undisturbed}{loops}")


def _overwriting(subject: Subject, given: Sequences) -> Verdict | None:
    x, tokens = given
    module = subject.build(dtype=x.dtype)
    state = subject.initial_state(module, BATCH)
    for t in range(SHARED):
        before = walk(state)
        was = snapshot(before)
        _, new = subject.step(module, x[:, t], tokens[:, t], state)
        now = snapshot(walk(state))
        for path in was | now:
            if not _same(was.get(path), now.get(path)):
                return failed(f"step {t} overwrites the given {path}", output=t)
        if t:
            refuse_growth_outside_tensors(before, walk(new))
        state = new
    return None


def _disturbing(
    subject: Subject, precision: Precision, one: Sequences, other: Sequences
) -> Verdict | None:
    """Step two sequences in turns, and compare each with the same sequence alone."""
    modules = [subject.build(dtype=precision.dtype) for _ in range(3)]
    alone = [run_steps(subject, modules[i], *each)[0] for i, each in enumerate((one, other))]
    begun = one[0][:, :SHARED], one[1][:, :SHARED]
    states = [run_steps(subject, modules[2], *begun)[1]] * 2
    for t in range(SHARED, TOTAL):
        for i, (x, tokens) in enumerate((one, other)):
            y_t, states[i] = subject.step(modules[2], x[:, t], tokens[:, t], states[i])
            change = largest_change(y_t[:, None], alone[i][:, t : t + 1])
            if change.relative > precision.tolerance:
                return failed(
                    f"output {t} of the step form changes by {change} when another sequence steps"
                    " in between",
                    **{**change.facts, "output": t},
                )
    return None


class _Exchanged(nn.Module):
    """A mixer whose step takes or returns the state first."""

    def __init__(self, mixer: nn.Module, *, takes: bool) -> None:
        super().__init__()
        self.mixer, self.takes = mixer, takes

    def initial_state(self, batch_size: int) -> Any:
        return call_initial_state(self.mixer, batch_size)

    def step(self, x_t: Tensor, state: Any) -> Any:
        step: Any = self.mixer.step
        return step(state, x_t) if self.takes else tuple(reversed(step(x_t, state)))


def _exchanged(
    subject: Subject, module: nn.Module, given: Sequences, expected: Tensor, allowed: float
) -> str:
    """A remark if steps are correct once input and state, or output and state, are exchanged."""
    remarks = {
        True: "; it seems to take (state, x_t), expected step(x_t, state)",
        False: "; it seems to return (state, y_t), expected (y_t, state)",
    }
    for takes, remark in remarks.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the mixer may index the wrong object
                y, _ = run_steps(subject, _Exchanged(module, takes=takes), *given)
        except Misbehaviour:
            continue
        if largest_change(y, expected).relative <= allowed:
            return remark
    return ""


def _precision(subject: Subject) -> Precision:
    """The precision of the parallel form, or a lower one if the state has another type."""
    module = subject.build()
    if subject.precision != DOUBLE or not has_step(module):
        return subject.precision
    x, tokens = subject.sequences(SHARED)
    direction, _ = subject.sequences(SHARED, seed=1)
    with torch.no_grad():
        return measure_precision(
            lambda given: run_steps(subject, subject.maker.copied(module), given, tokens)[0],
            x,
            direction,
        )


def _same(was: Any, now: Any) -> bool:
    """Whether two leaves are equal; NaN equals NaN."""
    if type(was) is not type(now):
        return False
    if isinstance(was, Tensor) and (was.shape, was.dtype) != (now.shape, now.dtype):
        return False
    same = (was == now) | ((was != was) & (now != now))
    return same if isinstance(same, bool) else bool(same.all())


def run_steps(
    subject: Subject,
    module: nn.Module,
    x: Float[Tensor, "batch L d_model"],
    tokens: Int64[Tensor, "batch L"],
    state: Any = None,
) -> tuple[Float[Tensor, "batch L d_model"], Any]:
    """Return all outputs of the step form, and the final state."""
    state = subject.initial_state(module, x.shape[0]) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        y_t, state = subject.step(module, x[:, t], tokens[:, t], state)
        outputs.append(y_t)
    return torch.stack(outputs, 1), state
