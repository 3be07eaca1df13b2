"""What a module holds, in its own attributes and those of its submodules, and what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import torch
from torch import Tensor, nn

ModuleState = dict[str, object]
"""By dotted name: a copy of every tensor, and plain values as they are."""

TENSORS = {"_parameters", "_buffers", "_modules"}
"""Attributes of a module that hold others, which are named as if they were its own."""
NO_STATE = vars(nn.Module()).keys() - TENSORS
"""Hooks and the like, which every module has."""
CODE = (FunctionType, BuiltinFunctionType, MethodType, type, ModuleType)
ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, *CODE)
"""Types of what has no parts, or none that is state."""


@dataclass(frozen=True)
class _Value:
    """A tensor's numbers, whether they are trained, and the parameter itself if it is one: it is
    what an optimiser knows."""

    numbers: Tensor
    trained: bool
    parameter: nn.Parameter | None

    @classmethod
    def of(cls, tensor: Tensor) -> _Value:
        """What a tensor holds at the moment."""
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


def module_state(module: nn.Module, *, without: Iterable[Tensor] = ()) -> ModuleState:
    """What a module holds: parameters, buffers, all other attributes, containers and objects in
    them included, and its extra state. What a function encloses is not looked at.

    Args:
        module: what is looked at.
        without: tensors that are left out.
    """
    return object_state(module, without=without)


def object_state(value: object, *, without: Iterable[object] = ()) -> ModuleState:
    """As `module_state`, of any object or container."""
    leaves = _leaves(value, "", {id(each): each for each in without})
    return {name: _Value.of(x) if isinstance(x, Tensor) else x for name, x in leaves}


def view_of_parameter(module: nn.Module) -> tuple[str, str] | None:
    """The name of a tensor that a module holds beside a parameter, in the same memory, and that
    of the parameter; None: there is none."""
    parameters = list(module.named_parameters(remove_duplicate=False))
    owners = {_memory(parameter): name for name, parameter in parameters}
    for name, tensor in _leaves(module, "", {id(parameter): None for _, parameter in parameters}):
        if isinstance(tensor, Tensor) and tensor.numel() and _memory(tensor) in owners:
            return name, owners[_memory(tensor)]
    return None


def extra_states(module: nn.Module) -> ModuleState:
    """What the submodules return from `get_extra_state`, where they have it."""
    parts = {
        f"{name}.{part}": state
        for name, submodule in module.named_modules()
        for part, state in _extra_state(submodule)
    }
    return object_state(parts)


def first_change(before: ModuleState, after: ModuleState) -> str | None:
    """The name of something that is new, gone or different; None where all is as before."""
    names = dict.fromkeys([*before, *after])
    change = next((name for name in names if not _same(before, after, name)), None)
    return None if change is None else change.rstrip(".")


def _memory(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; views of it give the same."""
    strided = tensor.layout is torch.strided
    return tensor.untyped_storage().data_ptr() if strided else id(tensor)


def _same(before: ModuleState, after: ModuleState, name: str) -> bool:
    if name not in before or name not in after:
        return False
    old, new = before[name], after[name]
    return old is new or (type(old) is type(new) and old == new)


def _leaves(value: object, name: str, seen: dict[int, object]) -> Iterator[tuple[str, object]]:
    """The tensors and plain values that a value consists of, by name; an object that is met again
    gives nothing."""
    if id(value) in seen:
        return
    if isinstance(value, (Tensor, *ATOMS)):
        yield name, value
    else:
        seen[id(value)] = value  # which keeps it, and with it its id
        yield f"{name}.", type(value)
        for part, inner in _parts(value):
            yield from _leaves(inner, f"{name}.{part}" if name else part, seen)


def _parts(value: object) -> Iterable[tuple[str, object]]:
    """The next level of an object, by name."""
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
    """What a module says that it keeps beside parameters and buffers."""
    if type(module).get_extra_state is nn.Module.get_extra_state:
        return []
    return [("get_extra_state()", module.get_extra_state())]


def _attributes(value: object) -> list[tuple[str, object]]:
    """Those of a plain object."""
    slots = [name for base in type(value).__mro__ for name in vars(base).get("__slots__", ())]
    slotted = [(name, getattr(value, name)) for name in slots if hasattr(value, name)]
    return [*getattr(value, "__dict__", {}).items(), *slotted]


def _reduced(value: object) -> list[tuple[str, object]]:
    """What an object would be pickled as, where its class says so itself: sets, iterators, random
    number generators."""
    try:
        parts = value.__reduce_ex__(2)
    except Exception:  # whatever a class raises that cannot be pickled
        return []
    if isinstance(parts, str):
        return []
    return [(str(i), list(p) if isinstance(p, Iterator) else p) for i, p in enumerate(parts)]
