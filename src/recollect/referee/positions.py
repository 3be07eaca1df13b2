"""Check outputs at selected positions, which training uses if a mixer supports them."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from recollect.models.calling import takes_positions
from recollect.referee.causality import cuts, other_sequences
from recollect.referee.conduct import MODES
from recollect.referee.lengths import compared, draws, replaced
from recollect.referee.subject import Subject
from recollect.referee.verdict import Verdict, failed, not_offered, passed

MANY = "all positions, some twice and unordered"
Positions = Int64[Tensor, "batch Q"]


def output_positions(subject: Subject) -> Verdict:
    """Check that `output_positions` gives the outputs and gradients of the full form.

    This is done in evaluation and in training mode. If dropout makes outputs random, only causality
    is checked.
    """
    if not takes_positions(subject.build()):
        return not_offered("forward does not take output_positions: training uses the full form")
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
        "outputs and gradients at selected positions, also repeated and unordered ones, equal those"
        " of the full form (evaluation and training mode)"
    )


def asked_positions(batch: int, length: int) -> dict[str, Positions]:
    """Return positions to request, by their description: single ones, and many in any order."""
    generator = torch.Generator().manual_seed(length)
    every = torch.arange(length).expand(batch, -1)
    drawn = torch.randint(length, (batch, length), generator=generator)
    return {
        "the last position": every[:, -1:],
        "one position, different in each row": drawn[:, :1],
        MANY: torch.cat([drawn, every], 1),
    }


def _other_values(subject: Subject, module: nn.Module, length: int, mode: str) -> Verdict | None:
    """The failure if outputs differ from the full form; reported as a look-ahead if it is one."""
    x, tokens = subject.sequences(length)
    whole = subject.outputs(module, x, tokens)
    for what, places in asked_positions(*tokens.shape).items():
        places = places.to(x.device)
        y = subject.outputs(module, x, tokens, places)
        change = compared(subject, y, _at(whole, places), whole)
        if change.relative > subject.precision.tolerance:
            position = int(places[change.row, change.position])
            return _look_ahead(subject, module, length, mode) or failed(
                f"with output_positions = {what}, output {position} of {length} differs from the"
                f" full form by {change} ({mode} mode)",
                **{**change.facts, "output": position},
            )
    return None


def _look_ahead(subject: Subject, module: nn.Module, length: int, mode: str) -> Verdict | None:
    """The failure if later inputs change earlier outputs, with the same dropout; else None."""
    given = subject.sequences(length)
    other = other_sequences(subject, given, seed=0)
    for last in cuts(length):
        places = torch.arange(last + 1, device=given[1].device).expand(len(given[1]), -1)
        expected = subject.outputs(module, *given, places)
        y = subject.outputs(module, *replaced(given, other, slice(last + 1, None)), places)
        change = compared(subject, y, expected, expected)
        if change.relative > subject.precision.tolerance:
            return failed(
                f"with output_positions, inputs from {last + 1} on change output"
                f" {change.position} by {change} ({length} positions, {mode} mode)",
                input=last + 1,
                **change.facts,
            )
    return None


def _other_gradients(subject: Subject, module: nn.Module, length: int) -> Verdict | None:
    """The failure if gradients of inputs and parameters differ from the full form; else None."""
    x, tokens = subject.sequences(length)
    places = asked_positions(*tokens.shape)[MANY].to(x.device)
    weights = _at(subject.sequences(length, seed=1)[0], places)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    inputs = [x.requires_grad_(), *trained.values()]
    whole = subject.run(module, x, tokens)
    if not whole.requires_grad:
        return None  # the checks of gradients report this
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
