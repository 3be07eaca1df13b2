"""The arguments of a mixer's constructor: what the model decides, and what is an option."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import nn

from recollect.errors import UserError

CONTEXT = ("d_model", "max_len", "layer_idx", "n_layers", "rope", "qkv_canon")
"""What the model decides, not the mixer's options: width, longest length in training or test, place
of the layer, depth, and whether queries and keys are rotated (ModelConfig's positions="rope")."""
STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Parameters = Mapping[str, inspect.Parameter]


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """The arguments that a constructor names.

    Raises:
        UserError: for one that it takes by position only.
    """
    if inspect.getattr_static(cls, "__init__") is vars(nn.Module)["__init__"]:
        return {}
    parameters = inspect.signature(cls).parameters
    for name, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UserError(
                f"the mixer {cls.__name__} takes {name} by position only, but it is built by"
                " keyword; remove the '/' from its constructor"
            )
    return {name: p for name, p in parameters.items() if p.kind not in STARS}


def handed_on(cls: type) -> list[str]:
    """The arguments that constructors of its bases name, where `**kwargs` can hand them on."""
    found: dict[str, None] = {}
    for base in cls.__mro__:
        if base in (nn.Module, object):
            break
        parameters = inspect.signature(inspect.getattr_static(base, "__init__")).parameters.values()
        if base is not cls:
            found |= {p.name: None for p in parameters if p.kind not in STARS and p.name != "self"}
        if "__init__" in vars(base) and all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return list(found)


def takes_any(cls: type) -> bool:
    """Whether a constructor has `**kwargs`, of which it may read any, and no base to which it would
    hand them on."""
    own = [base for base in cls.__mro__ if "__init__" in vars(base)]
    first = inspect.signature(vars(own[0])["__init__"]).parameters.values()
    return own[1] is nn.Module and any(p.kind is p.VAR_KEYWORD for p in first)


def mixer_options(cls: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """The arguments of a mixer's constructor that are its own options.

    Raises:
        UserError: as in `parameters_of`.
    """
    return {name: p for name, p in parameters_of(cls).items() if name not in CONTEXT}


def required(parameters: Parameters) -> list[str]:
    """The arguments that have no default, in order."""
    return [name for name, p in parameters.items() if p.default is p.empty]
