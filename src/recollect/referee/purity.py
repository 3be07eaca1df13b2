"""Check that a step modifies nothing, and that the state holds all that later steps need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.referee.inputs import Sequences
from recollect.referee.layers import has_step
from recollect.referee.precision import Precision
from recollect.referee.state import refuse_growth_outside_tensors
from recollect.referee.steps import missing, run_steps, step_precision
from recollect.referee.subject import Subject
from recollect.referee.verdict import (
    Misbehaviour,
    Verdict,
    failed,
    largest_change,
    listed,
    not_measured,
    not_offered,
    passed,
)
from recollect.referee.walk import Parts, overwritten, snapshot, walk

EARLY, LEAST, CONTINUED = 5, 12, 7
"""Tokens before the first continued state, least tokens that are read, and steps of a
continuation."""


@dataclass(frozen=True)
class _Read:
    """What the step form does with one sequence.

    Attributes:
        module: the module that read it.
        outputs: its outputs.
        states: some states, by the number of tokens before them.
        last: the parts of the final state.
    """

    module: nn.Module
    outputs: Float[Tensor, "batch L d_model"]
    states: Mapping[int, Any]
    last: Parts


def pure_steps(subject: Subject) -> Verdict:
    """Check that a step modifies neither the given state nor the module.

    Two sequences that continue from one state must not affect each other, and a fresh module must
    be able to continue from it: the past must be in the state. It must be in tensors, so that it
    can be compared.
    """
    precision = step_precision(subject)
    if not has_step(subject.build(dtype=precision.dtype)):
        return not_offered(missing(subject.build(dtype=precision.dtype)))
    length = max(subject.lengths[-1], LEAST)
    one, other = (subject.sequences(length, seed=i, dtype=precision.dtype) for i in (0, 1))
    with torch.no_grad():
        read = _watched(subject, one)
        if isinstance(read, Verdict):
            return read
        for place in read.states:
            fault = _continued(subject, precision, read, place, one, other)
            if fault is not None:
                return fault
    fine = (
        f"from states after {listed(read.states)} tokens two sequences continue without affecting"
        " each other, and a fresh module continues alike"
    )
    for path, kind in read.last.opaque.items():
        return not_measured(
            f"{path} holds a {kind}, whose content cannot be read, so a step might overwrite it or"
            f" keep the past in it; {fine}"
        )
    loops = read.last.cycles
    remark = f" ({loops[0]} refers back to an object around it)" if loops else ""
    return passed(f"none of {length} steps modifies the given state; {fine}{remark}")


def _watched(subject: Subject, given: Sequences) -> _Read | Verdict:
    """Read a sequence, or return the failure of the first step that overwrites its state."""
    x, tokens = given
    length = x.shape[1]
    module = subject.build(dtype=x.dtype)
    state = subject.initial_state(module, x.shape[0])
    before, outputs, states = walk(state), [], {}
    for t in range(length):
        if t in (EARLY, length // 2, length - CONTINUED):
            states[t] = state
        was = snapshot(before)
        y_t, new = subject.step(module, x[:, t], tokens[:, t], state)
        path = overwritten(was, walk(state))
        if path is not None:
            return failed(f"step {t} overwrites the given {path}", output=t)
        after = walk(new)
        if t:
            refuse_growth_outside_tensors(before, after)
        state, before = new, after
        outputs.append(y_t)
    return _Read(module, torch.stack(outputs, 1), states, before)


def _continued(
    subject: Subject,
    precision: Precision,
    read: _Read,
    place: int,
    one: Sequences,
    other: Sequences,
) -> Verdict | None:
    """The failure if the module and a fresh one continue differently from a state, else None.

    The module steps the two sequences in turns.
    """
    steps = slice(place, place + CONTINUED)
    rests = [(x[:, steps], tokens[:, steps]) for x, tokens in (one, other)]
    states = [read.states[place]] * 2
    in_turns: list[list[Tensor]] = [[], []]
    for t in range(CONTINUED):
        for i, (x, tokens) in enumerate(rests):
            y_t, states[i] = subject.step(read.module, x[:, t], tokens[:, t], states[i])
            in_turns[i].append(y_t)
    turns = [torch.stack(outputs, 1) for outputs in in_turns]
    disturbed = "when another sequence steps in between"
    fault = _differs(precision, turns[0], read.outputs[:, steps], place, disturbed)
    if fault is not None:
        return fault
    outside = (
        f"when a fresh module with the same weights continues from the state after {place} tokens:"
        " a part of the past is not in the state"
    )
    for expected, rest in zip(turns, rests, strict=True):
        fresh = subject.build(dtype=precision.dtype)
        subject.initial_state(fresh, len(expected))  # where a module may prepare its steps
        try:
            alone, _ = run_steps(subject, fresh, *rest, read.states[place])
        except Misbehaviour as error:
            return failed(f"{error}, {outside}", output=place)
        fault = _differs(precision, alone, expected, place, outside)
        if fault is not None:
            return fault
    return None


def _differs(
    precision: Precision, actual: Tensor, expected: Tensor, place: int, when: str
) -> Verdict | None:
    """The failure if outputs from a place on differ, else None."""
    change = largest_change(actual, expected)
    if change.relative <= precision.tolerance:
        return None
    t = place + change.position
    return failed(
        f"output {t} of the step form changes by {change}, {when}", **{**change.facts, "output": t}
    )
