"""What all ops do when they are called: they declare their multiply-adds, and keep their precision.

Counters of matrix products see no FFT and no fused scan. An op is visible to PyTorch's function
modes, like PyTorch's own functions, so that a mode can add up what the ops of a model declare
(`referee.cost`). Under autocast an op computes in float32: products of decays over a long sequence
need its digits. PyTorch's attention kernel takes half precision by itself.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function
from torch.utils._pytree import tree_map

P = ParamSpec("P")
R = TypeVar("R")


class Op(Generic[P, R]):
    """A function that declares what a call costs.

    Args:
        function: what is called.
        declared: the multiply-adds of a call, from those of its arguments that this names.
        half: whether it is left to autocast.
    """

    def __init__(
        self, function: Callable[P, R], declared: Callable[..., int], *, half: bool
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.declared, self.half = function, declared, half

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, and let a function mode see it."""
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if has_torch_function(tensors):
            return handle_torch_function(self, tensors, *args, **kwargs)
        device = tensors[0].device.type
        if self.half or not torch.is_autocast_enabled(device):
            return self.function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            args, kwargs = tree_map(_in_full, (args, kwargs))
            return self.function(*args, **kwargs)

    def multiply_adds(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """What such a call costs, however its arguments are given: by place, by name or not."""
        call = inspect.signature(self.function).bind(*args, **kwargs)
        call.apply_defaults()
        names = inspect.signature(self.declared).parameters
        return self.declared(**{name: call.arguments[name] for name in names})


def declares(
    multiply_adds: Callable[..., int], *, half: bool = False
) -> Callable[[Callable[P, R]], Op[P, R]]:
    """Make a function an `Op` whose calls cost `multiply_adds` of the arguments that this names;
    `half`: it may compute in half precision under autocast."""
    return lambda function: Op(function, multiply_adds, half=half)


def _in_full(value: Any) -> Any:
    """Half-precision tensors as float32."""
    is_half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if is_half else value


def rows(*tensors: Tensor | None, dims: int = 2) -> int:
    """How many times an op is applied: the product of the leading dimensions, all but `dims`, of
    those tensors that are given."""
    leading = (t.shape[:-dims] for t in tensors if t is not None)
    return math.prod(torch.broadcast_shapes(*leading))
