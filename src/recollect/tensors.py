"""Precision and size of a module's tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def cast(module: AnyModule, dtype: torch.dtype) -> AnyModule:
    """Change the precision of a module's parameters and buffers in place; returns the module.

    Real numbers stay real, complex ones stay complex (`Module.to` makes them real), and integers
    and booleans stay as they are.

    Args:
        module: any module.
        dtype: the type of real numbers, such as `torch.float64`; complex numbers get the matching
            complex type.
    """

    def convert(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    module._apply(convert)  # type: ignore[no-untyped-call]
    return module


def fill(tensor: Tensor, value: Tensor) -> None:
    """Write a value of the same shape into a tensor, which may be expanded (`Tensor.expand`).

    Only the stored numbers of an expanded tensor are written, so it equals `value` afterwards only
    if `value` repeats along the expanded dimensions.
    """
    for dim, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor, value = tensor.narrow(dim, 0, 1), value.narrow(dim, 0, 1)
    with torch.no_grad():
        tensor.copy_(value)


def count_numbers(tensor: Tensor) -> int:
    """Count the real numbers in a tensor; a complex number counts as two."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def trained_numbers(module: nn.Module) -> int:
    """Count the trained parameters of a model, as reported everywhere.

    A complex number counts as two. Frozen parameters (`requires_grad=False`) are not counted; a
    shared parameter counts once.
    """
    return sum(count_numbers(p) for p in module.parameters() if p.requires_grad)


def hidden_weights(module: nn.Module, output: Callable[[], Tensor]) -> list[Tensor]:
    """Tensors that receive gradients but are not registered as parameters of the module.

    An optimiser never updates them; layers kept in a plain list are an example. Tensors created
    anew in each call, such as an initial state, are left out.

    Args:
        module: any module.
        output: computes an output of the module with gradients enabled; it is called twice.
    """
    first, second = _leaves(output()), _leaves(output())
    known = {id(parameter) for parameter in module.parameters()}
    return [tensor for key, tensor in first.items() if key in second and key not in known]


def shared_weights(one: nn.Module, other: nn.Module) -> list[str]:
    """Names of trained parameters of a module whose storage another module also uses."""
    used = {parameter.untyped_storage().data_ptr() for parameter in other.parameters()} - {0}
    return [
        name
        for name, parameter in one.named_parameters()
        if parameter.requires_grad and parameter.untyped_storage().data_ptr() in used
    ]


def _leaves(output: Tensor) -> dict[int, Tensor]:
    """The leaf tensors of an output's autograd graph, by id."""
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
