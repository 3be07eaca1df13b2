"""Find all tensors and plain values inside a state, and parts whose content cannot be read."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recollect.referee.verdict import Unmeasurable

PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type, range, slice, Enum, np.generic),
    *(torch.device, torch.dtype, torch.layout, torch.memory_format, torch.Generator),
)
"""Values that hold no tensor, such as a count of positions or a device."""
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
"""Functions, which may hold state in a closure or in the object they are bound to."""
OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"_modules"}
"""Attributes of every `nn.Module`: parameters and buffers are weights, not state."""


@dataclass
class Parts:
    """The parts of a state by path, such as `state['keys'][0]` or `state.layers[0].keys`.

    Attributes:
        leaves: tensors and plain values; a NumPy array becomes a tensor that shares its memory.
        opaque: types of the parts whose content cannot be read.
        cycles: paths at which a part contains itself.
    """

    leaves: dict[str, Any] = field(default_factory=dict)
    opaque: dict[str, str] = field(default_factory=dict)
    cycles: list[str] = field(default_factory=list)

    @property
    def tensors(self) -> list[Tensor]:
        """The leaves that are tensors."""
        return [leaf for leaf in self.leaves.values() if isinstance(leaf, Tensor)]

    @property
    def plain(self) -> list[Any]:
        """The leaves that are not tensors."""
        return [leaf for leaf in self.leaves.values() if not isinstance(leaf, Tensor)]

    def require_readable(self) -> None:
        """Raise `Unmeasurable`, with path and type, if a part is opaque."""
        for path, kind in self.opaque.items():
            raise Unmeasurable(f"{path} holds a {kind}, whose content cannot be read")


def walk(state: Any) -> Parts:
    """Return the parts of a state, inside of containers, dataclasses and other objects.

    Each object is visited once. A module in a state, such as the owner of a cache, is searched,
    too, without its parameters and buffers; so are the attributes that a tensor was given.
    """
    found = Parts()
    seen: dict[int, Any] = {}
    above: set[int] = set()
    waiting: list[tuple[str, Any, bool]] = [("state", state, False)]
    while waiting:
        path, part, leaving = waiting.pop()
        if leaving:
            above.discard(id(part))
        elif id(part) in above:
            found.cycles.append(path)
        elif isinstance(part, PLAIN) or type(part) is object:
            found.leaves[path] = part
        elif id(part) not in seen:
            seen[id(part)] = part  # keep it alive, so that its id stays unique
            if (tensor := _as_tensor(part)) is not None:
                found.leaves[path] = tensor
                children: Iterable[tuple[str, Any]] | None = _attributes(
                    getattr(part, "__dict__", {})
                )
            else:
                children = _children(part)
            if children is None:
                found.opaque[path] = _kind(part)
                continue
            above.add(id(part))
            inner = [(path + suffix, child, False) for suffix, child in children]
            waiting += [(path, part, True), *reversed(inner)]
    return found


def _as_tensor(part: Any) -> Tensor | None:
    """A dense tensor, or a numeric array as a tensor; None for anything else."""
    if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
        return torch.as_tensor(part)
    return part if isinstance(part, Tensor) and part.layout == torch.strided else None


def snapshot(found: Parts) -> dict[str, Any]:
    """Return a copy of the leaves, to detect later writes to them."""

    def copied(leaf: Any) -> Any:
        if isinstance(leaf, torch.Generator):
            return leaf.get_state()
        return leaf.detach().clone() if isinstance(leaf, Tensor) else leaf

    return {path: copied(leaf) for path, leaf in found.leaves.items()}


def overwritten(was: dict[str, Any], now: Parts) -> str | None:
    """Return the path of the first leaf that is not as in a snapshot; None if there is none."""
    leaves = snapshot(now)
    return next((path for path in was | leaves if not _same(was.get(path), leaves.get(path))), None)


def _same(was: Any, now: Any) -> bool:
    """Whether two leaves are equal; NaN equals NaN."""
    if type(was) is not type(now):
        return False
    if isinstance(was, Tensor) and (was.shape, was.dtype) != (now.shape, now.dtype):
        return False
    same = (was == now) | ((was != was) & (now != now))
    return same if isinstance(same, bool) else bool(same.all())


def _children(part: Any) -> Iterable[tuple[str, Any]] | None:
    """The parts of an object with their path suffixes; None if they cannot be read."""
    if isinstance(part, FUNCTIONS):
        return () if _holds_nothing(part) else None
    if isinstance(part, Tensor):
        return None
    if isinstance(part, nn.Module):
        own = {name: value for name, value in vars(part).items() if name not in OF_EVERY_MODULE}
        return _attributes(own)
    items = _items(part)
    attributes = dict(_slots(part)) | getattr(part, "__dict__", {})
    if items is None and not attributes and not _is_bare(part):
        return None
    return chain(items or (), _attributes(attributes))


def _holds_nothing(function: Any) -> bool:
    """Whether a function holds no state: no closure, method or default other than plain values."""
    if isinstance(function, types.FunctionType):
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        return not function.__closure__ and all(isinstance(value, PLAIN) for value in defaults)
    owner = getattr(function, "__self__", function)
    return owner is None or isinstance(owner, types.ModuleType)


def _items(part: Any) -> Iterable[tuple[str, Any]] | None:
    """The items of a container; None for anything else."""
    if isinstance(part, Mapping):
        return [(f"[{key!r}]", value) for key, value in part.items()]
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return [(f".{name}", getattr(part, name)) for name in part._fields]
    if isinstance(part, list | tuple | deque | Set | np.ndarray):
        return [(f"[{i}]", item) for i, item in enumerate(part)]
    return None


def _attributes(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f".{name}", value) for name, value in values.items()]


def _slots(part: Any) -> Iterator[tuple[str, Any]]:
    """The attributes in `__slots__` of an object."""
    for cls in type(part).__mro__:
        names = vars(cls).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            private = name.startswith("__") and not name.endswith("__")
            attribute = f"_{cls.__name__.lstrip('_')}{name}" if private else name
            if name not in ("__dict__", "__weakref__") and hasattr(part, attribute):
                yield attribute, getattr(part, attribute)


def _is_bare(part: Any) -> bool:
    """Whether an object can have attributes."""
    return hasattr(part, "__dict__") or any("__slots__" in vars(c) for c in type(part).__mro__)


def _kind(part: Any) -> str:
    if isinstance(part, Tensor):
        return f"tensor of layout {part.layout}"
    return type(part).__name__
