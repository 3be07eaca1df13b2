"""Marks on parameters with a fixed initialisation, weight decay or learning rate.

A mixer sets them where its authors prescribe these values. The marks of other packages count, too:
`_no_reinit` and `_no_weight_decay` (mamba-ssm), and `_optim`, a dict with `lr` and `weight_decay`
(S4, state-spaces/s4).
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
    """A parameter that keeps its attributes in copies and pickles; PyTorch's class loses them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> MarkedParameter:
        copied: MarkedParameter = super().__deepcopy__(memo)  # type: ignore[no-untyped-call]
        copied.__dict__.update(self.__dict__)
        return copied

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return _restored, (self.data, self.requires_grad, self.__dict__)


def keep_init(*modules: nn.Module | nn.Parameter) -> None:
    """Mark parameters to keep the initialisation of the mixer; the recipe leaves them alone.

    The mark survives `copy.deepcopy`, pickling and `Module.to`.

    Args:
        modules: parameters, or modules with all their parameters.
    """
    _mark(modules, KEEP_INIT)


def no_decay(*modules: nn.Module | nn.Parameter) -> None:
    """Mark parameters to exclude them from weight decay.

    The mark survives `copy.deepcopy`, pickling and `Module.to`.

    Args:
        modules: parameters, or modules with all their parameters.
    """
    _mark(modules, NO_DECAY)


def protect_marks(module: nn.Module) -> None:
    """Make all marks in a module survive copies, including marks of other packages."""
    for parameter in module.parameters():
        if any(hasattr(parameter, name) for name in MARKS):
            _protect(parameter)


def keeps_init(parameter: Tensor) -> bool:
    """Return whether the parameter keeps its initialisation."""
    return _has(parameter, KEEP_INIT) or _has(parameter, "_no_reinit")


def is_decayed(parameter: Tensor) -> bool:
    """Return whether weight decay acts on the parameter."""
    return own_decay(parameter) != 0


def own_decay(parameter: Tensor) -> float | None:
    """Return the weight decay fixed by the parameter's marks; None: the trial's.

    Raises:
        UserError: if the mark `_optim` is invalid.
    """
    if _has(parameter, NO_DECAY) or _has(parameter, "_no_weight_decay"):
        return 0.0
    return _optim(parameter).get("weight_decay")


def own_learning_rate(parameter: Tensor) -> float | None:
    """Return the peak learning rate fixed by the parameter's marks; None: the trial's.

    Raises:
        UserError: if the mark `_optim` is invalid.
    """
    return _optim(parameter).get("lr")


def _optim(parameter: Tensor) -> Mapping[str, float]:
    """The settings in S4's mark `_optim` that are not None."""
    marked = getattr(parameter, "_optim", {})
    if isinstance(marked, Mapping) and marked.keys() <= {"lr", "weight_decay"}:
        given = {name: value for name, value in marked.items() if value is not None}
        if all(isinstance(v, int | float) and 0 <= v < math.inf for v in given.values()):
            return given
    raise UserError(
        f"a parameter of a mixer has the mark _optim={marked!r}: expected a dict with only the keys"
        " 'lr' and 'weight_decay', each a finite number of at least 0, or None"
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
    """Change the class in place: module and optimizer may already hold the parameter."""
    if type(parameter) is nn.Parameter:
        parameter.__class__ = MarkedParameter
    elif isinstance(parameter, UninitializedParameter):
        parameter.cls_to_become = MarkedParameter  # type: ignore[attr-defined]


def _restored(data: Tensor, requires_grad: bool, attributes: dict[str, Any]) -> MarkedParameter:
    parameter = MarkedParameter(data, requires_grad)
    parameter.__dict__.update(attributes)
    return parameter
