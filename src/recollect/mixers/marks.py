"""Marks on parameters whose initialisation, weight decay or learning rate a mixer's authors fixed.

The marks of other packages are read as well: `_no_reinit` and `_no_weight_decay` (mamba-ssm), and
`_optim`, a dict with `lr` and `weight_decay` (S4, state-spaces/s4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from recollect.errors import UserError

KEEP_INIT, NO_DECAY = "recollect_keep_init", "recollect_no_decay"
MARKS = (KEEP_INIT, NO_DECAY, "_no_reinit", "_no_weight_decay", "_optim")


class MarkedParameter(nn.Parameter):
    """A parameter that keeps its attributes when it is copied or pickled; PyTorch's loses them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> MarkedParameter:
        copied: MarkedParameter = super().__deepcopy__(memo)  # type: ignore[no-untyped-call]
        copied.__dict__.update(self.__dict__)
        return copied

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return _restored, (self.data, self.requires_grad, self.__dict__)


def keep_init(*modules: nn.Module | nn.Parameter) -> None:
    """Tell the recipe to leave these parameters as the mixer initialised them.

    The mark survives `copy.deepcopy`, pickling and `Module.to`.
    """
    _mark(modules, KEEP_INIT)


def no_decay(*modules: nn.Module | nn.Parameter) -> None:
    """Tell the optimiser not to decay these parameters.

    The mark survives `copy.deepcopy`, pickling and `Module.to`.
    """
    _mark(modules, NO_DECAY)


def protect_marks(module: nn.Module) -> None:
    """Make all marks in a module survive copies, those of other packages too."""
    for parameter in module.parameters():
        if any(hasattr(parameter, name) for name in MARKS):
            _protect(parameter)


def keeps_init(parameter: Tensor) -> bool:
    """Whether the recipe leaves the parameter's initialisation alone."""
    return _has(parameter, KEEP_INIT) or _has(parameter, "_no_reinit")


def is_decayed(parameter: Tensor) -> bool:
    """Whether weight decay acts on the parameter."""
    return own_decay(parameter) != 0


def own_decay(parameter: Tensor) -> float | None:
    """The weight decay that the parameter's authors fixed; None: the trial's.

    Raises:
        UserError: for an `_optim` that cannot be followed.
    """
    if _has(parameter, NO_DECAY) or _has(parameter, "_no_weight_decay"):
        return 0.0
    return _optim(parameter).get("weight_decay")


def own_learning_rate(parameter: Tensor) -> float | None:
    """The peak learning rate that the parameter's authors fixed; None: the trial's.

    Raises:
        UserError: for an `_optim` that cannot be followed.
    """
    return _optim(parameter).get("lr")


def _optim(parameter: Tensor) -> Mapping[str, float]:
    """The settings in S4's mark that are given."""
    marked = getattr(parameter, "_optim", {})
    if isinstance(marked, Mapping) and marked.keys() <= {"lr", "weight_decay"}:
        given = {name: value for name, value in marked.items() if value is not None}
        if all(isinstance(v, int | float) and 0 <= v < math.inf for v in given.values()):
            return given
    raise UserError(
        f"a parameter of a mixer has the mark _optim={marked!r}: expected a dict with no keys but"
        " 'lr' and 'weight_decay', each a finite number from 0 on, or None"
    )


def _has(parameter: Tensor, name: str) -> bool:
    return bool(getattr(parameter, name, False))


def _mark(modules: tuple[nn.Module | nn.Parameter, ...], name: str) -> None:
    for module in modules:
        parameters = [module] if isinstance(module, nn.Parameter) else module.parameters()
        for parameter in parameters:
            setattr(parameter, name, True)
            _protect(parameter)


def _protect(parameter: nn.Parameter) -> None:
    """Change the class in place: module and optimiser may hold the parameter already."""
    if type(parameter) is nn.Parameter:
        parameter.__class__ = MarkedParameter
    elif isinstance(parameter, UninitializedParameter):
        parameter.cls_to_become = MarkedParameter  # type: ignore[attr-defined]


def _restored(data: Tensor, requires_grad: bool, attributes: dict[str, Any]) -> MarkedParameter:
    parameter = MarkedParameter(data, requires_grad)
    parameter.__dict__.update(attributes)
    return parameter
