"""A stand-in for CUDA graphs on the CPU: the operators that a function calls, without its code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recollect.training.captured import Graph


class Tape(TorchDispatchMode):
    """Records operators with the tensors that they read and write.

    As with a graph, nothing has changed after the recording, and a replay computes with what is
    then in those tensors; what the host did in between is forgotten.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for value, argument in zip(args, func._schema.arguments, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._remember(value)
        for name, value in kwargs.items():
            if name == "out":
                self._remember(value)
        out = func(*args, **kwargs)
        self._calls.append((func, args, kwargs, out))
        return out

    def _remember(self, tensor: Tensor) -> None:
        if id(tensor) not in self._before:
            self._before[id(tensor)] = tensor, tensor.detach().clone()

    @torch.no_grad()
    def undo(self) -> None:
        for tensor, before in reversed(self._before.values()):
            tensor.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, out in self._calls:
            again = func(*args, **kwargs)
            is_alias = any(r.alias_info is not None for r in func._schema.returns)
            if not is_alias:
                for place, value in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    if isinstance(place, Tensor) and place is not value:
                        place.copy_(value)


def capture(function: Callable[[], Tensor]) -> Graph:
    """As `captured.Capture`."""
    tape = Tape()
    with tape:
        output = function()
    tape.undo()
    return Graph(tape.replay, output)
