"""Calls into a module: whatever it raises is its misbehaviour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.errors import UserError, summary
from recollect.referee.verdict import Misbehaviour


def gradients_of(y: Float[Tensor, ""], inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Those of leaves. Reentrant checkpoints refuse `autograd.grad`, and not `backward`, which
    training calls."""
    try:
        return torch.autograd.grad(y, inputs, retain_graph=True, allow_unused=True)
    except RuntimeError:
        for leaf in inputs:
            leaf.grad = None
        y.backward(retain_graph=True)
        found = [leaf.grad for leaf in inputs]
        for leaf in inputs:
            leaf.grad = None
        return found


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Whatever the module raises is its misbehaviour, not the referee's."""
    try:
        yield
    except Misbehaviour:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, UserError) and what == "building it":
            raise
        raised = "" if isinstance(error, UserError) else f" raises {type(error).__name__}"
        raise Misbehaviour(f"{what}{raised}: {summary(error)}") from error
