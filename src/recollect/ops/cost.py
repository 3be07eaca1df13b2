"""Ops declare their multiply-adds and compute in float32 under autocast.

Counters of matrix products miss FFTs and fused scans. PyTorch's function modes see an op as they
see PyTorch's own functions, so a mode can sum what the ops of a model declare (`referee.cost`).
Products of decays over a long sequence need the digits of float32. PyTorch's attention kernel is
the exception: it handles half precision itself.
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

from recollect.ops.shapes import broadcast_shapes

P = ParamSpec("P")
R = TypeVar("R")


class Op(Generic[P, R]):
    """A function that declares the cost of a call.

    Args:
        function: the function to call.
        declared: computes the multiply-adds of a call; its parameters are named like the arguments
            of `function` that it needs.
        half: whether the function may compute in half precision under autocast.
    """

    def __init__(
        self, function: Callable[P, R], declared: Callable[..., int], *, half: bool
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.declared, self.half = function, declared, half

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function; PyTorch's function modes see the call."""
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
        """Multiply-adds of a call with these arguments, positional, by name or left out."""
        call = inspect.signature(self.function).bind(*args, **kwargs)
        call.apply_defaults()
        names = inspect.signature(self.declared).parameters
        return self.declared(**{name: call.arguments[name] for name in names})


def declares(
    multiply_adds: Callable[..., int], *, half: bool = False
) -> Callable[[Callable[P, R]], Op[P, R]]:
    """Make a function an `Op` with this cost; see `Op` for both arguments."""
    return lambda function: Op(function, multiply_adds, half=half)


def _in_full(value: Any) -> Any:
    """Convert a half-precision tensor to float32; return anything else unchanged."""
    is_half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if is_half else value


def rows(*tensors: Tensor | None, dims: int = 2) -> int:
    """How often an op is applied: the product of the broadcast leading dimensions.

    The last `dims` dimensions of each tensor are not leading ones; None is skipped.
    """
    leading = (t.shape[:-dims] for t in tensors if t is not None)
    return math.prod(broadcast_shapes(*leading))
