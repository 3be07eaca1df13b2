"""Whether a mixer can be trained: what its gradients reach, and what an optimiser would have."""

from __future__ import annotations

import torch
from torch import nn

from recollect.referee.subject import Subject
from recollect.referee.verdict import Verdict, failed, not_offered, passed
from recollect.tensors import hidden_weights

INPUT = "its input"


def gradients(subject: Subject) -> Verdict:
    """Its input and every parameter have a finite gradient, at the start too, and not always zero;
    an optimiser that has the parameters trains all that it consists of."""
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
        found = subject.gradients((y * weights).sum(), list(reached.values()))
        zero = set()
        for name, gradient in zip(reached, found, strict=True):
            if gradient.layout != torch.strided:
                return failed(
                    f"{name} has a sparse gradient, which AdamW refuses, so that no study can train"
                    " it: sparse=False for an embedding",
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


def _silent(names: set[str]) -> Verdict | None:
    """What is wrong, if some gradients are always zero."""
    if INPUT in names:
        return failed(
            "no gradient reaches its input, so that layers below learn nothing through it: forward"
            " detaches the input, or computes under torch.no_grad"
        )
    if names:
        listed = sorted(names)
        return failed(f"the gradient of {', '.join(listed)} is always zero", parameters=listed)
    return None


def _all_reached(count: int) -> Verdict:
    if not count:
        return not_offered("it has no trained parameters")
    return passed(f"{count} parameter tensors, each with a finite gradient that moves it")


def _other_parameters(subject: Subject) -> Verdict | None:
    """What is wrong, if a call makes parameters, or puts others in the place of those there are."""
    module = subject.build(dtype=torch.float32).train()
    before = dict(module.named_parameters())
    subject.run(module, *subject.sequences(subject.middle, dtype=torch.float32))
    after = dict(module.named_parameters())
    late = [name for name in after if name not in before]
    if late:
        return failed(
            f"made by the first call, so that no optimiser has them: {', '.join(late)}; make them"
            " in the constructor",
            parameters=late,
        )
    replaced = [name for name in before if after.get(name) is not before[name]]
    if replaced:
        return failed(
            f"forward puts another tensor in the place of {', '.join(replaced)}, so that what an"
            " optimiser has is never used: compute with it, and keep the result in a variable",
            parameters=replaced,
        )
    return None


def _hidden(subject: Subject) -> Verdict | None:
    """What is wrong, if outputs depend on weights that the module's parameters lack."""
    module = subject.build(dtype=torch.float32).train()
    given = subject.sequences(subject.middle, dtype=torch.float32)
    hidden = hidden_weights(module, lambda: subject.run(module, *given))
    if not hidden:
        return None
    count = f"{len(hidden)} tensor{'s'[: len(hidden) > 1]}"
    return failed(
        f"outputs depend on {count} of weights that are not among the module's parameters, so that"
        " no optimiser trains them: layers in a plain list? use nn.ModuleList, or nn.Parameter for"
        " a tensor",
        tensors=len(hidden),
    )


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
