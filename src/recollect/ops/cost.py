"""Ops declare their multiply-adds: counters of matrix products see no FFT and no fused scan.

An op that declares them is visible to PyTorch's function modes, like PyTorch's own functions, so
that a mode can add up what the ops of a model declare (`referee.cost`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

P = ParamSpec("P")
R = TypeVar("R")


class Op(Generic[P, R]):
    """A function that declares what a call costs.

    Args:
        function: what is called.
        multiply_adds: the multiply-adds of a call, from the same arguments.
    """

    def __init__(self, function: Callable[P, R], multiply_adds: Callable[..., int]) -> None:
        functools.update_wrapper(self, function)
        self.function, self.multiply_adds = function, multiply_adds

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, and let a function mode see it."""
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if has_torch_function(tensors):
            return handle_torch_function(self, tensors, *args, **kwargs)
        return self.function(*args, **kwargs)


def declares(multiply_adds: Callable[..., int]) -> Callable[[Callable[P, R]], Op[P, R]]:
    """Make a function an `Op` whose calls cost `multiply_adds` of their arguments."""
    return lambda function: Op(function, multiply_adds)


def rows(*tensors: Tensor, dims: int = 2) -> int:
    """How many times an op is applied: the product of the leading dimensions, all but `dims`."""
    leading = (t.shape[:-dims] for t in tensors)
    return math.prod(torch.broadcast_shapes(*leading))
