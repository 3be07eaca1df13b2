"""A GPU that computes nothing: what a program would do on one, followed without one.

PyTorch's fake tensors have a shape, a type and a device, and no numbers. Operators refuse tensors
of two devices, and a number of a fake tensor can be read only by asking for it, which a real GPU
answers when all its work is done. `Trace` notes what is asked, and counts kernel launches.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch._dynamo.config  # imported by fake tensors, which are changed below
import torch.nn.functional as F
from cuda_kernels import attention, rms_norm
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recollect.ops.forms import triton_runs

GPU = torch.device("cuda:0")
META = "meta"
"""What C++ takes the fake GPU for: autograd asks a CUDA device for a guard, which a PyTorch without
CUDA lacks."""

NO_LAUNCH = frozenset(
    {
        *(
            "view",
            "_unsafe_view",
            "reshape",
            "_reshape_alias",
            "expand",
            "permute",
            "t",
            "transpose",
        ),
        *(
            "slice",
            "select",
            "unbind",
            "split",
            "split_with_sizes",
            "unsqueeze",
            "squeeze",
            "detach",
        ),
        *("alias", "as_strided", "unflatten", "movedim", "diagonal", "view_as_real"),
        *("view_as_complex", "_conj", "conj", "real", "imag", "narrow", "swapaxes", "lift_fresh"),
        *("lift", "unfold", "resolve_conj", "resolve_neg", "chunk", "flatten", "expand_as"),
        *("view_as", "unsafe_split", "empty", "empty_like", "empty_strided", "new_empty"),
        *("new_empty_strided", "set_", "resize_", "squeeze_", "unsqueeze_", "t_", "transpose_"),
        *("as_strided_", "detach_", "_local_scalar_dense", "_is_zerotensor", "_neg_view"),
        *("is_same_size", "scalar_tensor", "is_pinned", "record_stream"),
    }
)
"""Operators that launch no kernel."""
LAUNCHES = {
    "linalg_solve_triangular": 5,
    "native_layer_norm_backward": 2,
    "_fused_rms_norm_backward": 2,
    "embedding_dense_backward": 3,
    "_scaled_dot_product_efficient_attention_backward": 3,
    "sort": 3,
    "index_put": 4,
    "index_put_": 4,
    "constant_pad_nd": 2,
    "select_backward": 2,
    "slice_backward": 2,
    "diagonal_backward": 2,
    "_fft_c2r": 2,
    "diag_embed": 2,
    "_foreach_norm": 2,
    "_fused_adamw_": 2,
    "scatter_add": 2,
    "scatter": 2,
}
"""Of those that launch more than one, in PyTorch without a compiler; read from its sources."""
WAITS = frozenset({"nonzero", "masked_select", "_unique2", "unique_dim", "is_nonzero", "equal"})
"""Operators whose result has a size or a value that the host needs."""
NEED_DIGITS = frozenset(
    {
        *("_fft_r2c", "_fft_c2r", "_fft_c2c", "cumsum", "cumprod", "logcumsumexp", "cummax"),
        *("linalg_solve_triangular", "_linalg_solve_ex", "view_as_complex", "complex", "polar"),
    }
)
"""Operators that bfloat16 would harm, or that have no kernel for it."""
HALVES = (torch.bfloat16, torch.float16)
ON_CPU = ("cpu", "mkldnn", "histogram")
"""Parts of the names of operators that a GPU lacks."""


class Trace(TorchDispatchMode):
    """What a program does on the fake GPU.

    Attributes:
        launches: of kernels.
        waits: places at which the host waits for the GPU.
        halves: operators that need more digits than they were given, and their places.
        kernels: launches by operator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.halves: list[str] = []
        self.kernels: Counter[str] = Counter()

    @property
    def launches(self) -> int:
        return self.kernels.total()

    def forget(self) -> None:
        """Begin anew."""
        self.waits.clear()
        self.halves.clear()
        self.kernels.clear()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if name == "_local_scalar_dense":
            if _on_gpu(args[0]):
                self.waits.append(f"{_place()} [item]")
            return _some_number(args[0])
        if name == "index" and (waited := _by_mask(args, self)) is not None:
            return waited
        if any(part in name for part in ON_CPU) and any(map(_on_gpu, given)):
            raise RuntimeError(f"{name} has no kernel on a GPU: {_place()}")
        out = func(*args, **kwargs)
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if any(map(_on_gpu, given + made)):
            self._note(name, given, made, bool(kwargs.get("non_blocking")))
        return out

    def _note(self, name: str, given: list[Tensor], made: list[Tensor], behind: bool) -> None:
        if name in WAITS:
            self.waits.append(f"{_place()} [{name}]")
        if name in ("_to_copy", "copy_"):
            source, target = (given[1], given[0]) if name == "copy_" else (given[0], made[0])
            if name == "_to_copy" and (source.device, source.dtype) == (
                target.device,
                target.dtype,
            ):
                return  # made only because C++ takes the fake GPU for another device
            if _on_gpu(source) != _on_gpu(target) and not behind:
                self.waits.append(f"{_place()} [copy to {target.device.type}]")
        if name in NEED_DIGITS and any(x.dtype in HALVES for x in given):
            self.halves.append(f"{_place()} [{name}]")
        if name == "_scaled_dot_product_efficient_attention":
            _check_mask(given)
        if name == "_scaled_dot_product_efficient_attention_backward":
            _check_sums(given)
        if name not in NO_LAUNCH:
            self._launch(name, given, made)

    def _launch(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:  # noqa: ARG002
        self.kernels[name] += LAUNCHES.get(name, 1)


@contextmanager
def fake_gpu(trace: Trace | None = None) -> Iterator[Trace]:
    """While the block lasts, tensors are fake, and "cuda" is a device."""
    make, run = Tensor._make_subclass, FakeTensorMode.dispatch

    def make_subclass(cls: type, data: Tensor, requires_grad: bool = False, **kwargs: Any) -> Any:
        if getattr(kwargs.get("device_for_backend_keys"), "type", "") == GPU.type:
            kwargs["dispatch_device"] = False
        return make(cls, data, requires_grad, **kwargs)

    def dispatch(
        mode: FakeTensorMode, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        asked = (kwargs or {}).get("device")
        if asked is not None and torch.device(asked).type == META:
            kwargs = kwargs | {"device": GPU}
        return run(mode, func, types, args, kwargs)

    def device(tensor: Tensor) -> torch.device:
        seen = torch._C.TensorBase.device.__get__(tensor)
        return GPU if seen.type == META and is_batchedtensor(tensor) else seen

    with ExitStack() as changed:
        for target, name, value in (
            (Tensor, "_make_subclass", staticmethod(make_subclass)),
            (FakeTensorMode, "dispatch", dispatch),
            (Tensor, "device", property(device)),
            (Tensor, "pin_memory", lambda tensor: tensor),
            (F, "scaled_dot_product_attention", attention),
            (F, "rms_norm", partial(rms_norm, F.rms_norm)),
            (torch.amp.autocast_mode, "amp_definitely_not_available", lambda: False),
            (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
            (torch.cuda, "is_bf16_supported", lambda *_, **__: True),
        ):
            if hasattr(target, name):
                changed.enter_context(mock.patch.object(target, name, value))
        changed.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        triton_runs()  # asked once in a process, so that no trace has its launches
        yield changed.enter_context(trace or Trace())


def to_gpu(model: nn.Module, device: torch.device = GPU) -> nn.Module:
    """A model with fake tensors on a device in place of its own, shared ones still shared."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    there = nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
                    vars(there).update(vars(parameter))  # the marks of mixers
                    made[id(parameter)] = there
                module._parameters[name] = made[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(device)
    return model


def _check_mask(given: list[Tensor]) -> None:
    """The kernel repeats no mask, and has grids of at most 65,535 sequences."""
    q, mask = given[0], given[3] if len(given) > 3 else None
    if mask is not None and mask.shape[:2] != q.shape[:2]:
        raise RuntimeError(
            f"attn_bias: wrong shape {tuple(mask.shape)} for queries {tuple(q.shape)}"
        )
    if max(q.shape[:2]) > 65_535:
        raise RuntimeError(f"invalid configuration argument: queries {tuple(q.shape)}")


def _check_sums(given: list[Tensor]) -> None:
    """The backward pass needs the logarithms of the sums, which the forward pass may not keep."""
    output = given[0]
    sums = next(x for x in given if x.ndim == 3 and x.shape[:2] == output.shape[:2])
    if not sums.numel():
        raise RuntimeError("LSE is not correctly aligned (strideB)")


def _by_mask(args: Any, trace: Trace) -> Tensor | None:
    """What `x[mask]` gives, of which only the GPU knows the size: here as if all were chosen."""
    x, indices = args[0], [i for i in args[1] if i is not None]
    if len(indices) != 1 or indices[0].dtype != torch.bool or not _on_gpu(indices[0]):
        return None
    trace.waits.append(f"{_place()} [a mask as index]")
    return x.new_empty(indices[0].numel(), *x.shape[indices[0].ndim :])


def _on_gpu(x: Tensor) -> bool:
    return x.device.type == GPU.type


def _some_number(x: Tensor) -> float | int | bool:
    if x.dtype == torch.bool:
        return False  # no number is NaN, and none differs from another
    return 1.0 if x.is_floating_point() else 1


def _place() -> str:
    """The line of this package, or of a test's mixer, that is at work."""
    for frame in reversed(traceback.extract_stack()):
        if ("/recollect/" in frame.filename or "planted" in frame.filename) and (
            frame.filename != __file__
        ):
            return f"{frame.filename.rpartition('/src/')[2]}:{frame.lineno}: {frame.line}"
    return "autograd"
