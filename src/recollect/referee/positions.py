"""The path that training takes: outputs at some positions alone, where a mixer offers that."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from recollect.models.calling import takes_positions
from recollect.referee.causality import cuts, other_sequences
from recollect.referee.lengths import compared, draws, replaced
from recollect.referee.subject import Subject
from recollect.referee.verdict import Verdict, failed, not_offered, passed

MODES = {"evaluation": False, "training": True}
Positions = Int64[Tensor, "batch Q"]


def output_positions(subject: Subject) -> Verdict:
    """With `output_positions` a mixer gives what the full form gives there, in evaluation and in
    training mode, with the same gradients, and looks back only."""
    if not takes_positions(subject.build()):
        return not_offered(
            "its forward does not name output_positions: training uses the full form"
        )
    lengths = [n for n in subject.lengths if n > 1]
    for length in sorted({lengths[0], lengths[-1]}):
        for mode, training in MODES.items():
            module = subject.build().train(training)
            if training and draws(subject, module, length):
                fault = _look_ahead(subject, module, length, mode)
            else:
                fault = _other_values(subject, module, length, mode)
                if training and fault is None:
                    fault = _other_gradients(subject, module, length)
            if fault is not None:
                return fault
    return passed(
        "any positions, repeated and out of order, give the outputs and gradients of the full form"
        " and look back only (evaluation and training mode)"
    )


def asked_positions(batch: int, length: int) -> dict[str, Positions]:
    """Positions to ask for, in words and by row: one, and more than there are, in any order."""
    generator = torch.Generator().manual_seed(length)
    every = torch.arange(length).expand(batch, -1)
    drawn = torch.randint(length, (batch, length), generator=generator)
    return {
        "the last": every[:, -1:],
        "one of each row's own": drawn[:, :1],
        "all, some of them twice and out of order": torch.cat([drawn, every], 1),
    }


def _other_values(subject: Subject, module: nn.Module, length: int, mode: str) -> Verdict | None:
    """Beside the full form; a look-ahead, where it is the cause, is told as one."""
    x, tokens = subject.sequences(length)
    whole = subject.outputs(module, x, tokens)
    for what, places in asked_positions(*tokens.shape).items():
        places = places.to(x.device)
        y = subject.outputs(module, x, tokens, places)
        change = compared(subject, y, _at(whole, places), whole)
        if change.relative > subject.precision.tolerance:
            position = int(places[change.row, change.position])
            return _look_ahead(subject, module, length, mode) or failed(
                f"asked for {what} of {length} positions, its output at position {position}"
                f" differs from that of the full form by {change} ({mode} mode)",
                **{**change.facts, "output": position},
            )
    return None


def _look_ahead(subject: Subject, module: nn.Module, length: int, mode: str) -> Verdict | None:
    """Later inputs changed, with the same dropout."""
    given = subject.sequences(length)
    other = other_sequences(subject, given, seed=0)
    for last in cuts(length):
        places = torch.arange(last + 1, device=given[1].device).expand(len(given[1]), -1)
        expected = subject.outputs(module, *given, places)
        y = subject.outputs(module, *replaced(given, other, slice(last + 1, None)), places)
        change = compared(subject, y, expected, expected)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"with output_positions, inputs {last + 1} and later change output"
                f" {change.position} by {change} ({length} positions, {mode} mode)",
                input=last + 1,
                **change.facts,
            )
    return None


def _other_gradients(subject: Subject, module: nn.Module, length: int) -> Verdict | None:
    """Of inputs and parameters, beside the full form's."""
    x, tokens = subject.sequences(length)
    places = asked_positions(*tokens.shape)["all, some of them twice and out of order"].to(x.device)
    weights = _at(subject.sequences(length, seed=1)[0], places)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    inputs = [x.requires_grad_(), *trained.values()]
    whole = subject.run(module, x, tokens)
    if not whole.requires_grad:
        return None  # told by the checks on gradients
    expected = subject.gradients((_at(whole, places) * weights).sum(), inputs)
    y = subject.run(module, x, tokens, places)
    found = subject.gradients((y * weights).sum(), inputs)
    allowed = subject.precision.tolerance * max(g.abs().max().item() for g in expected)
    for name, one, other in zip(("its input", *trained), found, expected, strict=True):
        error = (one - other).abs().max().item()
        if not error <= allowed and other.isfinite().all():
            return failed(
                f"with output_positions, the gradient of {name} differs from the full form's by"
                f" {error:.2g} ({length} positions, training mode)",
                parameter=name,
            )
    return None


def _at(whole: Tensor, places: Positions) -> Tensor:
    return whole.take_along_dim(places[..., None], 1)
