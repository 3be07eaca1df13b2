"""Marks on parameters whose initialisation or weight decay a mixer's authors fixed."""

from __future__ import annotations

from torch import Tensor, nn


def keep_init(*modules: nn.Module | nn.Parameter) -> None:
    """Tell the recipe to leave these parameters as the mixer initialised them."""
    _mark(modules, "recollect_keep_init")


def no_decay(*modules: nn.Module | nn.Parameter) -> None:
    """Tell the optimiser not to decay these parameters."""
    _mark(modules, "recollect_no_decay")


def keeps_init(parameter: Tensor) -> bool:
    """Whether the recipe leaves the parameter's initialisation alone."""
    return getattr(parameter, "recollect_keep_init", False)


def is_decayed(parameter: Tensor) -> bool:
    """Whether weight decay acts on the parameter."""
    return not getattr(parameter, "recollect_no_decay", False)


def _mark(modules: tuple[nn.Module | nn.Parameter, ...], name: str) -> None:
    for module in modules:
        parameters = [module] if isinstance(module, nn.Parameter) else module.parameters()
        for parameter in parameters:
            setattr(parameter, name, True)
