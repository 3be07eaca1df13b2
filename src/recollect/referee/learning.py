"""Check that a mixer can be trained: its gradients, and the parameters an optimiser would get."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.models.calling import call_auxiliary_loss
from recollect.referee.calls import blaming
from recollect.referee.subject import Subject
from recollect.referee.verdict import Verdict, failed, not_offered, passed
from recollect.tensors import hidden_weights

INPUT = "its input"


def gradients(subject: Subject) -> Verdict:
    """Check that gradients are finite, and not always zero, for the input and every parameter.

    Also check that the module's parameters include all its weights, and that calls do not replace
    them.
    """
    fault = _other_parameters(subject) or _hidden(subject)
    if fault is not None:
        return fault
    silent: set[str] | None = None
    for perturbed, seed in ((False, 0), (True, 0), (True, 1)):
        module = subject.build(seed, dtype=torch.float32, perturbed=perturbed).train()
        x, tokens = subject.sequences(subject.lengths[-1], seed=seed, dtype=torch.float32)
        weights, _ = subject.sequences(x.shape[1], seed=seed + 1, dtype=torch.float32)
        reached = {INPUT: x.requires_grad_(), **_trained(module)}
        y = subject.run(module, x, tokens, seed=seed)
        loss = (y * weights).sum() + _auxiliary_loss(module, x)
        found = subject.gradients(loss, list(reached.values()))
        zero = set()
        for name, gradient in zip(reached, found, strict=True):
            if gradient.layout != torch.strided:
                return failed(
                    f"{name} has a sparse gradient, which AdamW does not support: set sparse=False"
                    " for an embedding",
                    parameter=name,
                )
            if not gradient.isfinite().all():
                when = subject.when(perturbed)
                return failed(f"{name} has a gradient that is not finite{when}", parameter=name)
            if not gradient.any():
                zero.add(name)
        silent = zero if silent is None else silent & zero
    assert silent is not None
    return _silent(silent) or _all_reached(len(reached) - 1)


def _auxiliary_loss(module: nn.Module, x: Float[Tensor, "batch L d_model"]) -> Any:
    """The term that a mixer adds to the training loss; usually 0."""
    if not hasattr(module, "auxiliary_loss"):
        return 0.0
    with blaming("auxiliary_loss"):
        return call_auxiliary_loss(module, x)


def _silent(names: set[str]) -> Verdict | None:
    """The failure if some gradients are always zero, else None."""
    if INPUT in names:
        return failed(
            "no gradient reaches the input, so layers below cannot learn through the mixer: forward"
            " detaches the input, or runs under torch.no_grad"
        )
    if names:
        listed = sorted(names)
        return failed(f"the gradient of {', '.join(listed)} is always zero", parameters=listed)
    return None


def _all_reached(count: int) -> Verdict:
    if not count:
        return not_offered("the mixer has no trained parameters")
    return passed(f"{count} parameter tensors, all with a finite gradient other than zero")


def _other_parameters(subject: Subject) -> Verdict | None:
    """The failure if a call creates or replaces parameters, else None."""
    module = subject.build(dtype=torch.float32).train()
    before = dict(module.named_parameters())
    subject.run(module, *subject.sequences(subject.middle, dtype=torch.float32))
    after = dict(module.named_parameters())
    late = [name for name in after if name not in before]
    if late:
        return failed(
            f"the first call creates parameters, so the optimiser does not get them:"
            f" {', '.join(late)}; create them in the constructor",
            parameters=late,
        )
    replaced = [name for name in before if after.get(name) is not before[name]]
    if replaced:
        return failed(
            f"forward replaces {', '.join(replaced)} by another tensor, so the one that the"
            " optimiser has is never used: keep the parameter, and store results in a variable",
            parameters=replaced,
        )
    return None


def _hidden(subject: Subject) -> Verdict | None:
    """The failure if outputs depend on weights that are not parameters of the module, else None."""
    module = subject.build(dtype=torch.float32).train()
    given = subject.sequences(subject.middle, dtype=torch.float32)
    hidden = hidden_weights(module, lambda: subject.run(module, *given))
    if not hidden:
        return None
    count = f"{len(hidden)} tensor{'s'[: len(hidden) > 1]}"
    return failed(
        f"outputs depend on {count} of weights that are not parameters of the module, so no"
        " optimiser trains them: use nn.ModuleList for layers in a list, nn.Parameter for a tensor",
        tensors=len(hidden),
    )


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
