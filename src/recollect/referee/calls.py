"""Call a module; anything it raises becomes a `Misbehaviour`."""

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
    """Return the gradients of y by leaf tensors, zeros where y does not depend on them.

    Reentrant checkpoints refuse `autograd.grad` but allow `backward`, which training calls.
    """
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
    """Context that turns any exception of the module into a `Misbehaviour` during `what`."""
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
    """Return what forward returned if it is a tensor of the right shape.

    Args:
        given: the returned value.
        shape: the expected shape.
        what: the input, in words.

    Raises:
        Misbehaviour: if it is anything else.
    """
    if not isinstance(given, Tensor):
        raise Misbehaviour(
            f"forward returns a {type(given).__name__}, expected one tensor; wrap the mixer in a"
            " module whose forward returns only the output"
        )
    if given.shape != shape:
        raise Misbehaviour(
            f"{what} gives an output of shape {tuple(given.shape)}, expected {tuple(shape)}"
        )
    return given


def checked_step(
    given: Any, x_t: Float[Tensor, "batch d_model"]
) -> tuple[Float[Tensor, "batch d_model"], Any]:
    """Return what a step returned if it is (y_t, new state).

    Raises:
        Misbehaviour: if it is anything else.
    """
    if not isinstance(given, tuple | list) or len(given) != 2:
        kind = "only y_t" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise Misbehaviour(f"step returns {kind}, expected the pair (y_t, new state)")
    y_t, new = given
    if not isinstance(y_t, Tensor) or y_t.shape != x_t.shape:
        if isinstance(new, Tensor) and new.shape == x_t.shape:
            raise Misbehaviour("step returns (state, y_t), expected (y_t, new state)")
        what = tuple(y_t.shape) if isinstance(y_t, Tensor) else type(y_t).__name__
        kept = isinstance(y_t, Tensor) and y_t.shape == (len(x_t), 1, x_t.shape[1])
        remark = ": y_t has a sequence dimension; return y_t[:, 0]" if kept else ""
        raise Misbehaviour(f"step returns {what}, expected {tuple(x_t.shape)}{remark}")
    return y_t, new
