"""The arguments of a mixer's constructor: those set by the model, and options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from torch import nn

from recollect.errors import UserError

CONTEXT = ("d_model", "max_len", "layer_idx", "n_layers", "rope", "qkv_canon")
"""The arguments that the model sets: width, longest length in training or test, index of the layer,
depth, whether queries and keys are rotated (`positions="rope"` of `ModelConfig`), and whether a
Canon layer follows their maps (`canon="B"`)."""
STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
Parameters = Mapping[str, inspect.Parameter]


def signature_of(cls: type) -> MappingProxyType[str, inspect.Parameter]:
    """Return all arguments of a constructor, by name."""
    return _signature(cls, cls.__init__)  # type: ignore[misc]


@lru_cache(maxsize=1024)
def _signature(
    cls: type, _constructor: Callable[..., None]
) -> MappingProxyType[str, inspect.Parameter]:
    """Read a signature once, unless the class is given another constructor: studies of many cells
    ask for the same ones again and again."""
    return inspect.signature(cls).parameters


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """Return the arguments that a constructor names.

    Raises:
        UserError: if one of them is positional-only.
    """
    if inspect.getattr_static(cls, "__init__") is vars(nn.Module)["__init__"]:
        return {}
    parameters = signature_of(cls)
    for name, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UserError(
                f"the mixer {cls.__name__} takes {name} by position only, but mixers are built by"
                " keyword; remove the '/' from its constructor"
            )
    return {name: p for name, p in parameters.items() if p.kind not in STARS}


def base_arguments(cls: type) -> list[str]:
    """Return the arguments of base constructors that `**kwargs` may pass on."""
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


def takes_any_keyword(cls: type) -> bool:
    """Return whether a constructor may read any keyword: it has `**kwargs`, and no base constructor
    other than that of `nn.Module` to pass them on to."""
    own = [base for base in cls.__mro__ if "__init__" in vars(base)]
    first = inspect.signature(vars(own[0])["__init__"]).parameters.values()
    return own[1] is nn.Module and any(p.kind is p.VAR_KEYWORD for p in first)


def mixer_options(cls: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a mixer's constructor that the model does not set.

    Raises:
        UserError: as in `parameters_of`.
    """
    return {name: p for name, p in parameters_of(cls).items() if name not in CONTEXT}


def required(parameters: Parameters) -> list[str]:
    """Return the arguments without a default, in order."""
    return [name for name, p in parameters.items() if p.default is p.empty]
