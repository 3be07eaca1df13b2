"""Check that the step form equals the parallel form."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.models.calling import call_initial_state
from recollect.referee.inputs import CROWD, Sequences
from recollect.referee.layers import has_step
from recollect.referee.precision import DOUBLE, Precision, measure_precision
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Misbehaviour,
    Verdict,
    failed,
    largest_change,
    not_offered,
    passed,
    relative_text,
)

LOOSER = 10
"""Factor on the tolerance, since a recurrence and a parallel form round differently."""
STEP_FORM = ("initial_state", "step")
FEW = 5
"""Steps that show the precision of the step form."""


def step_form(subject: Subject) -> Verdict:
    """Check that steps give the outputs of the parallel form, for few rows and for many."""
    precision = step_precision(subject)
    module = subject.build(dtype=precision.dtype)
    if not has_step(module):
        return not_offered(missing(module))
    allowed = LOOSER * precision.tolerance
    note = "" if precision == subject.precision else f" ({precision})"
    largest, longest = 0.0, subject.lengths[-1]
    short = next(length for length in subject.lengths if length > 1)
    for length, batch in ((longest, None), (short, CROWD)):
        x, tokens = subject.sequences(length, batch=batch, dtype=precision.dtype)
        with torch.no_grad():
            expected = subject.run(module, x, tokens)
            y, _ = run_steps(subject, module, x, tokens)
        scale = expected.abs().max().item()
        for t in range(length):
            change = largest_change(y[:, t : t + 1], expected[:, t : t + 1], least_scale=scale)
            if change.relative > allowed:
                return failed(
                    f"output {t} of the step form{f' for {batch} rows' if batch else ''} differs"
                    f" from the parallel form by {change}{note}"
                    f"{_exchanged(subject, module, (x, tokens), expected, allowed)}",
                    **{**change.facts, "output": t},
                )
            largest = max(largest, change.relative)
    return passed(
        f"over {longest} positions it differs from the parallel form by at most"
        f" {relative_text(largest)} of the largest output{note}"
    )


def missing(module: nn.Module) -> str:
    """Return which method of the step form is missing, in words."""
    there = [name for name in STEP_FORM if hasattr(module, name)]
    if len(there) != 1:  # none, or a layer pattern in which some mixers lack them
        return "the mixer has no initial_state and step"
    (other,) = (name for name in STEP_FORM if name not in there)
    return f"the mixer has {there[0]}, but no {other}: a step form needs both"


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


def step_precision(subject: Subject) -> Precision:
    """Return the precision of the parallel form, or a lower one if the state has another type."""
    module = subject.build()
    if subject.precision != DOUBLE or not has_step(module):
        return subject.precision
    x, tokens = subject.sequences(FEW)
    direction, _ = subject.sequences(FEW, seed=1)
    with torch.no_grad():
        return measure_precision(
            lambda given: run_steps(subject, subject.maker.copied(module), given, tokens)[0],
            x,
            direction,
        )


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
