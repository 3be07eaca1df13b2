"""Snapshot of everything that a module and its submodules hold, and the differences of two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import torch
from torch import Tensor, nn

ModuleState = dict[str, object]
"""Values by dotted name: copies of tensors, and plain values."""

TENSORS = {"_parameters", "_buffers", "_modules"}
"""Attributes of a module whose entries are named as if they were attributes themselves."""
NO_STATE = vars(nn.Module()).keys() - TENSORS
"""Attributes that every module has and that are not state, such as hooks."""
CODE = (FunctionType, BuiltinFunctionType, MethodType, type, ModuleType)
ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, *CODE)
"""Types of values that are not looked into."""


@dataclass(frozen=True)
class _Value:
    """A tensor's values, whether they are trained, and the tensor itself if it is a parameter,
    because optimisers identify parameters by object."""

    numbers: Tensor
    trained: bool
    parameter: nn.Parameter | None

    @classmethod
    def of(cls, tensor: Tensor) -> _Value:
        """Snapshot of a tensor."""
        parameter = tensor if isinstance(tensor, nn.Parameter) else None
        return cls(tensor.detach().clone(), tensor.requires_grad, parameter)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Value):
            return False
        if self.trained != other.trained or self.parameter is not other.parameter:
            return False
        ours, theirs = self.numbers, other.numbers
        if (ours.shape, ours.dtype, ours.device) != (theirs.shape, theirs.dtype, theirs.device):
            return False
        return bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())


def object_state(value: object, *, without: Iterable[object] = ()) -> ModuleState:
    """Snapshot of a module, or of any other object or container.

    That of a module has its parameters, buffers, other attributes and extra state. Containers and
    objects are looked into. Closures of functions are not.

    Args:
        value: the object.
        without: tensors and other objects to leave out.
    """
    leaves = _leaves(value, "", {id(each): each for each in without})
    return {name: _Value.of(x) if isinstance(x, Tensor) else x for name, x in leaves}


def view_of_parameter(module: nn.Module) -> tuple[str, str] | None:
    """Names of the first non-parameter tensor that shares a parameter's memory, and of that
    parameter; None if there is none."""
    parameters = list(module.named_parameters(remove_duplicate=False))
    owners = {_memory(parameter): name for name, parameter in parameters}
    for name, tensor in _leaves(module, "", {id(parameter): None for _, parameter in parameters}):
        if isinstance(tensor, Tensor) and tensor.numel() and _memory(tensor) in owners:
            return name, owners[_memory(tensor)]
    return None


def extra_states(module: nn.Module) -> ModuleState:
    """Values that submodules return from `get_extra_state`, if they define it."""
    parts = {
        f"{name}.{part}": state
        for name, submodule in module.named_modules()
        for part, state in _extra_state(submodule)
    }
    return object_state(parts)


def first_change(before: ModuleState, after: ModuleState) -> str | None:
    """Name of the first value that was added, removed or changed; None if nothing was."""
    names = dict.fromkeys([*before, *after])
    change = next((name for name in names if not _same(before, after, name)), None)
    return None if change is None else change.rstrip(".")


def _memory(tensor: Tensor) -> int:
    """Address of a tensor's storage, which its views share."""
    strided = tensor.layout is torch.strided
    return tensor.untyped_storage().data_ptr() if strided else id(tensor)


def _same(before: ModuleState, after: ModuleState, name: str) -> bool:
    if name not in before or name not in after:
        return False
    old, new = before[name], after[name]
    return old is new or (type(old) is type(new) and old == new)


def _leaves(value: object, name: str, seen: dict[int, object]) -> Iterator[tuple[str, object]]:
    """Tensors and plain values that a value consists of, by name. Each object is visited once."""
    if id(value) in seen:
        return
    if isinstance(value, (Tensor, *ATOMS)):
        yield name, value
    else:
        seen[id(value)] = value  # a reference keeps the id from being reused
        yield f"{name}.", type(value)
        for part, inner in _parts(value):
            yield from _leaves(inner, f"{name}.{part}" if name else part, seen)


def _parts(value: object) -> Iterable[tuple[str, object]]:
    """Direct parts of an object, by name."""
    if isinstance(value, nn.Module):
        own = [(k, v) for k, v in vars(value).items() if k not in NO_STATE]
        parts = [part for k, v in own for part in (v.items() if k in TENSORS else [(k, v)])]
        return [*parts, *_extra_state(value)]
    if isinstance(value, dict):
        return [(str(k), v) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return [(str(i), v) for i, v in enumerate(value)]
    cls = type(value)
    if cls.__reduce__ is object.__reduce__ and cls.__reduce_ex__ is object.__reduce_ex__:
        return _attributes(value)
    return _reduced(value)


def _extra_state(module: nn.Module) -> list[tuple[str, object]]:
    """A module's extra state, if it defines any."""
    if type(module).get_extra_state is nn.Module.get_extra_state:
        return []
    return [("get_extra_state()", module.get_extra_state())]


def _attributes(value: object) -> list[tuple[str, object]]:
    """Attributes of a plain object."""
    slots = [name for base in type(value).__mro__ for name in vars(base).get("__slots__", ())]
    slotted = [(name, getattr(value, name)) for name in slots if hasattr(value, name)]
    return [*getattr(value, "__dict__", {}).items(), *slotted]


def _reduced(value: object) -> list[tuple[str, object]]:
    """Parts that an object with its own `__reduce__` would be pickled as: sets, iterators, random
    number generators."""
    try:
        parts = value.__reduce_ex__(2)
    except Exception:  # a class that cannot be pickled may raise anything
        return []
    if isinstance(parts, str):
        return []
    return [(str(i), list(p) if isinstance(p, Iterator) else p) for i, p in enumerate(parts)]
