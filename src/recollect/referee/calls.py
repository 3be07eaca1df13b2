"""Calls into a module: whatever it raises is its misbehaviour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.errors import UserError, summary
from recollect.referee.verdict import Misbehaviour


def gradients_of(y: Float[Tensor, ""], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Those of leaves, zeros of leaves that the number does not depend on. Reentrant checkpoints
    refuse `autograd.grad`, and not `backward`, which training calls."""
    found: Sequence[Tensor | None]
    try:
        found = torch.autograd.grad(y, inputs, retain_graph=True, allow_unused=True)
    except RuntimeError:
        for leaf in inputs:
            leaf.grad = None
        y.backward(retain_graph=True)
        found = [leaf.grad for leaf in inputs]
        for leaf in inputs:
            leaf.grad = None
    pairs = zip(found, inputs, strict=True)
    return [torch.zeros_like(x) if gradient is None else gradient for gradient, x in pairs]


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


def checked_output(given: Any, shape: Sequence[int], what: str) -> Tensor:
    """What forward gives, as a tensor of the right shape.

    Args:
        given: what it is.
        shape: what is expected.
        what: what it was given for, in words.

    Raises:
        Misbehaviour: if it is anything else.
    """
    if not isinstance(given, Tensor):
        raise Misbehaviour(
            f"forward gives a {type(given).__name__}, expected one tensor; wrap it in a module"
            " whose forward returns the output alone"
        )
    if given.shape != shape:
        raise Misbehaviour(f"{what} gives an output of shape {tuple(given.shape)}")
    return given


def checked_step(
    given: Any, x_t: Float[Tensor, "batch d_model"]
) -> tuple[Float[Tensor, "batch d_model"], Any]:
    """What a step gives, as (y_t, new state).

    Raises:
        Misbehaviour: if it is anything else.
    """
    if not isinstance(given, tuple | list) or len(given) != 2:
        kind = "y_t alone" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise Misbehaviour(f"step gives {kind}, expected the pair (y_t, new state)")
    y_t, new = given
    if not isinstance(y_t, Tensor) or y_t.shape != x_t.shape:
        if isinstance(new, Tensor) and new.shape == x_t.shape:
            raise Misbehaviour("step gives (state, y_t), expected (y_t, new state)")
        what = tuple(y_t.shape) if isinstance(y_t, Tensor) else type(y_t).__name__
        kept = isinstance(y_t, Tensor) and y_t.shape == (len(x_t), 1, x_t.shape[1])
        remark = ": y_t has a dimension of length; return y_t[:, 0]" if kept else ""
        raise Misbehaviour(f"step gives {what}, expected {tuple(x_t.shape)}{remark}")
    return y_t, new
