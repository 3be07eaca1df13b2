"""The choice of the form of a recurrence: for the CPU, a Triton kernel, or plain PyTorch.

All ops choose here. Trials record the form with their device.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import Literal

import torch
from torch import Tensor

Form = Literal["cpu", "triton", "torch"]

LARGEST_MEMORY = 1 << 14
"""The most elements of a matrix state for a Triton kernel. The kernel stores a state every few
positions; plain PyTorch works in longer chunks and stores fewer."""


def form_for(*tensors: Tensor) -> Form:
    """Return the form for these tensors, which are on one device.

    On a CUDA device float32 runs in Triton kernels if Triton works; all else in plain PyTorch.
    """
    device = tensors[0].device.type
    if device == "cpu":
        return "cpu"
    is_single = all(tensor.dtype == torch.float32 for tensor in tensors)
    return "triton" if device == "cuda" and is_single and triton_runs() else "torch"


def form_for_memory(d_k: int, d_v: int, *tensors: Tensor) -> Form:
    """Return the form for these tensors and a state of shape (d_k, d_v)."""
    form = form_for(*tensors)
    return "torch" if form == "triton" and d_k * d_v > LARGEST_MEMORY else form


def described_form() -> str:
    """Describe the form of float32 recurrences on a CUDA device, as results record it."""
    if not triton_runs():
        return "plain PyTorch"
    import triton

    return f"Triton {triton.__version__}"


@functools.cache
def triton_runs() -> bool:
    """Whether Triton is installed and compiles a kernel for the current CUDA device."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        from recollect.ops._triton_diagonal import scan

        one = torch.ones(1, 1, 1, device="cuda")
        scan(one, one, False)
    except Exception as error:  # Triton and the system's compiler raise errors of many types
        warnings.warn(
            f"Triton is installed but does not run here; recurrences use plain PyTorch: {error!r}",
            stacklevel=2,
        )
        return False
    return True
