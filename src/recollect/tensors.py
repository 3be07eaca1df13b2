"""The tensors of a module: their precision, and how many numbers they hold."""

from __future__ import annotations

from typing import TypeVar

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


def count_numbers(tensor: Tensor) -> int:
    """How many real numbers a tensor holds; a complex number counts as two."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def trained_numbers(module: nn.Module) -> int:
    """The size of a model as it is reported everywhere: the real numbers in its parameters that are
    trained. Frozen parameters (`requires_grad=False`) are not counted; a shared one counts once."""
    return sum(count_numbers(p) for p in module.parameters() if p.requires_grad)
