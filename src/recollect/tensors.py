"""The tensors of a module: their precision, and how many numbers they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def cast(module: AnyModule, dtype: torch.dtype) -> AnyModule:
    """Change the precision of a module's parameters and buffers in place; returns the module.

    Real numbers stay real, complex ones stay complex (`Module.to` makes them real), and integers
    and truth values stay as they are.

    Args:
        module: any module.
        dtype: of real numbers, such as `torch.float64`; complex ones have two of these.
    """

    def convert(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    module._apply(convert)  # type: ignore[no-untyped-call]
    return module


def fill(tensor: Tensor, value: Tensor) -> None:
    """Write a value of the same shape into a tensor, expanded ones included.

    Of an expanded tensor (`Tensor.expand`) the numbers that lie in memory are written, so that it
    has the value afterwards only if that repeats itself in the same way.
    """
    for dim, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor, value = tensor.narrow(dim, 0, 1), value.narrow(dim, 0, 1)
    with torch.no_grad():
        tensor.copy_(value)


def count_numbers(tensor: Tensor) -> int:
    """How many real numbers a tensor holds; a complex number counts as two."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def trained_numbers(module: nn.Module) -> int:
    """The size of a model as it is reported everywhere: the real numbers in its parameters that are
    trained. Frozen parameters (`requires_grad=False`) are not counted; a shared one counts once."""
    return sum(count_numbers(p) for p in module.parameters() if p.requires_grad)


def hidden_weights(module: nn.Module, output: Callable[[], Tensor]) -> list[Tensor]:
    """Tensors that an output's gradient reaches, and that the module's parameters lack, such as the
    weights of layers in a plain list: an optimiser never gets them.

    What each call makes for itself, such as an initial state, is none.

    Args:
        module: any module.
        output: calls it, with gradients enabled; it is called twice.
    """
    first, second = _leaves(output()), _leaves(output())
    known = {id(parameter) for parameter in module.parameters()}
    return [tensor for key, tensor in first.items() if key in second and key not in known]


def _leaves(output: Tensor) -> dict[int, Tensor]:
    """The tensors at which the gradient of an output ends, by id."""
    found: dict[int, Tensor] = {}
    waiting: list[Any] = [output.grad_fn]
    seen: set[Any] = {None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        waiting += [following for following, _ in node.next_functions]
    return found
