"""Calls of a mixer: the input by position, everything else by keyword.

`forward` may name `tokens` and `output_positions`; `step` may name `token` (or `tokens`). Each may
be anywhere after the input, keyword-only or not. A mixer receives only arguments that it names;
`**kwargs` names none.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.errors import UserError, no_exit

BY_KEYWORD = frozenset({"tokens", "token", "output_positions"})
"""Arguments that a mixer may name besides its input and its state."""


def call_forward(
    mixer: nn.Module,
    x: Float[Tensor, "batch L d_model"],
    tokens: Int64[Tensor, "batch L"],
    positions: Int64[Tensor, "batch Q"] | None = None,
) -> Any:
    """Call a mixer on a whole sequence and return its output, (batch, L, d_model) if it is correct.

    If the mixer returns several values, the output is the first. The output is not checked.
    Arguments and errors are those of `returned`.
    """
    given = returned(mixer, x, tokens, positions)
    several = isinstance(given, tuple | list) and len(given) > 0
    return given[0] if several and isinstance(given[0], Tensor) else given


@no_exit
def returned(
    mixer: nn.Module,
    x: Float[Tensor, "batch L d_model"],
    tokens: Int64[Tensor, "batch L"],
    positions: Int64[Tensor, "batch Q"] | None = None,
) -> Any:
    """Call a mixer on a whole sequence and return everything that it returns.

    Args:
        mixer: any mixer.
        x: its input.
        tokens: the token ids, passed as `tokens` if `forward` names it.
        positions: the positions whose outputs are needed, passed as `output_positions` if
            `forward` names it; the mixer then returns (batch, Q, d_model). None: all positions.

    Raises:
        UserError: if `forward` takes one of these by position only.
    """
    given: dict[str, Tensor] = {}
    if reads_tokens(mixer):
        given["tokens"] = tokens
    if positions is not None and takes_positions(mixer):
        given["output_positions"] = positions
    return mixer(x, **given)


@no_exit
def call_auxiliary_loss(mixer: nn.Module, x: Float[Tensor, "batch L d_model"]) -> Any:
    """Call the mixer's `auxiliary_loss` on its input, and return the number.

    Raises:
        UserError: if it is anything other than one number.
    """
    loss = mixer.auxiliary_loss(x)  # type: ignore[operator]
    shape = tuple(loss.shape) if isinstance(loss, Tensor) else None
    if shape == () or isinstance(loss, int | float):
        return loss
    returned = f"a {type(loss).__name__}" if shape is None else f"the shape {shape}"
    raise UserError(
        f"the mixer {type(mixer).__name__} returned {returned} as its auxiliary loss, expected one"
        " number, a mean over the examples of the batch"
    )


@no_exit
def call_initial_state(mixer: nn.Module, batch_size: int) -> Any:
    """Return the mixer's state before the first token; `batch_size` is passed by name if named."""
    initial_state: Any = mixer.initial_state
    if "batch_size" in _named(mixer, "initial_state", before=0):
        return initial_state(batch_size=batch_size)
    return initial_state(batch_size)


@no_exit
def call_step(
    mixer: nn.Module,
    x_t: Float[Tensor, "batch d_model"],
    state: Any,
    token: Int64[Tensor, " batch"],
) -> Any:
    """Call the mixer's `step` on one token: it returns (y_t, new state) if it is correct.

    Args:
        mixer: a mixer with a step form.
        x_t: its input.
        state: the state, passed as `state` if `step` names it, else as the second argument.
        token: the token's id, passed as `token` or `tokens` if `step` names one of these.

    Raises:
        UserError: if `step` takes the token by position only.
    """
    named = _named(mixer, "step")
    given = {name: token for name in ("token", "tokens") if name in named}
    step: Any = mixer.step
    if "state" in named:
        return step(x_t, state=state, **given)
    return step(x_t, state, **given)


def reads_tokens(mixer: nn.Module) -> bool:
    """Return whether `forward` takes the token ids."""
    return "tokens" in _named(mixer, "forward")


def takes_positions(mixer: nn.Module) -> bool:
    """Return whether `forward` takes the positions whose outputs are needed."""
    return "output_positions" in _named(mixer, "forward")


def _named(mixer: nn.Module, method: str, *, before: int = 1) -> frozenset[str]:
    """The arguments of a method, after the first `before`, that can be passed by keyword."""
    cls: type = type(mixer)
    if method in vars(mixer) or not hasattr(cls, method):  # set on this module only
        return _keywords(getattr(mixer, method), before=before)
    return _of_class(cls, method, before)


@lru_cache(maxsize=256)  # reading a signature takes a third of a small step
def _of_class(cls: type, method: str, before: int) -> frozenset[str]:
    bound = isinstance(inspect.getattr_static(cls, method), staticmethod | classmethod)
    return _keywords(getattr(cls, method), before=before if bound else before + 1)


def _keywords(function: Any, *, before: int) -> frozenset[str]:
    """The arguments after the first `before` that can be passed by keyword."""
    parameters = list(inspect.signature(function).parameters.values())[before:]
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in BY_KEYWORD:
            raise UserError(
                f"{function.__qualname__} takes {parameter.name} by position only, but it is passed"
                " by keyword; remove the '/' from its signature"
            )
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(p.name for p in parameters if p.kind in keyword)
