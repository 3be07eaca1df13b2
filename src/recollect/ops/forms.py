"""Which form of a recurrence runs: the CPU's, a fused Triton kernel, or plain PyTorch.

The choice is made here for all ops. Trials record it with their device.
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
"""Numbers of a matrix that a Triton kernel takes as a memory. It keeps one for every few positions,
which plain PyTorch, with longer chunks, does not need."""


def form_for(*tensors: Tensor) -> Form:
    """The form that takes these tensors, which are on one device.

    Triton kernels are for float32 on a CUDA device. Float64 takes plain PyTorch there.
    """
    device = tensors[0].device.type
    if device == "cpu":
        return "cpu"
    is_single = all(tensor.dtype == torch.float32 for tensor in tensors)
    return "triton" if device == "cuda" and is_single and triton_runs() else "torch"


def form_for_memory(d_k: int, d_v: int, *tensors: Tensor) -> Form:
    """The form that takes these tensors and a matrix (d_k, d_v) as a memory."""
    form = form_for(*tensors)
    return "torch" if form == "triton" and d_k * d_v > LARGEST_MEMORY else form


def described_form() -> str:
    """What float32 recurrences take on a CUDA device, as it is recorded with a result."""
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
    except Exception as error:  # whatever Triton's compiler or the system's says
        warnings.warn(
            f"Triton is installed but does not run here, so that recurrences take plain PyTorch:"
            f" {error!r}",
            stacklevel=2,
        )
        return False
    return True
