"""Find parameters and buffers that a module's constructor leaves without a value."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from recollect.referee.verdict import Misbehaviour


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def refuse_lazy(module: nn.Module) -> None:
    """Raise `Misbehaviour` for lazy parameters, which have no values before the first call."""
    lazy = UninitializedParameter | UninitializedBuffer
    names = [name for name, tensor in tensors(module).items() if isinstance(tensor, lazy)]
    if names:
        raise Misbehaviour(
            f"lazy parameters ({', '.join(names)}): they have no shape before the first call, so"
            " neither the recipe nor the optimiser can use them; set their sizes (nn.Linear instead"
            " of nn.LazyLinear)"
        )


def uninitialised(build: Callable[[], nn.Module]) -> tuple[str, ...]:
    """Return the names of parameters and buffers that a constructor leaves uninitialised."""
    plain = tensors(build())
    with memory_filled():
        filled = tensors(build())
    return tuple(
        name
        for name, tensor in filled.items()
        if name in plain and (_fillers(tensor) & ~_fillers(plain[name])).any()
    )


def _fillers(tensor: Tensor) -> Tensor:
    """Where a tensor has a value that `memory_filled` fills in."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.isnan()
    return tensor == (torch.iinfo(tensor.dtype).max if tensor.dtype != torch.bool else 2)


@contextmanager
def memory_filled() -> Iterator[None]:
    """Context in which `torch.empty` fills tensors with NaN or the largest integer."""
    before = torch.get_deterministic_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about nondeterministic operators
        torch.set_deterministic_debug_mode("warn")
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(before)
