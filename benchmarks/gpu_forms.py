"""Time of PaTH and log-linear attention on a GPU: the kernels beside plain PyTorch.

    python benchmarks/gpu_forms.py

Two heads of the widths at d_model 64. Milliseconds of a forward and a backward pass, launched one
by one and as a CUDA graph, and peak memory. Errors are the largest differences of outputs and
gradients from float64, relative to the largest value, at 200 positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from fla_kernels import distance
from recollect.ops import forms
from recollect.ops.log_linear import levels, log_linear
from recollect.ops.path_attention import path_attention
from recollect.training.device import describe_device, resolve_device

HEADS, REPEATS = 2, 10
SIZES = ((64, 64), (64, 512), (512, 64))
"""Batch sizes and lengths."""
RULES: dict[str, Callable[..., Tensor]] = {
    "path": path_attention,
    "log-linear delta": log_linear,
    "log-linear mamba2": log_linear,
}


def main() -> None:
    """Print a line for each op, size and form."""
    device = resolve_device("cuda")
    print(f"{describe_device(device)}, PyTorch {torch.__version__}")
    for rule, function in RULES.items():
        compared = examples(rule, 2, 200, device)
        exact = step(function, [x.detach().double().requires_grad_() for x in compared])
        for form in ("triton", "torch"):
            with mock.patch.object(forms, "form_for", lambda *_, form=form: form):
                error = max(map(distance, step(function, compared), exact))
                print(f"{rule:18} {form:7} error {error:.1e}")
                for batch, length in SIZES:
                    inputs = examples(rule, batch, length, device)
                    torch.cuda.reset_peak_memory_stats(device)
                    eager = milliseconds(lambda: step(function, inputs))  # noqa: B023
                    graph = torch.cuda.CUDAGraph()
                    with torch.cuda.graph(graph):
                        step(function, inputs)
                    peak = torch.cuda.max_memory_allocated(device) / 1e6
                    print(
                        f"{rule:18} {form:7} batch {batch:4} length {length:4} eager {eager:6.2f}"
                        f" ms, graph {milliseconds(graph.replay):6.2f} ms, peak {peak:6.0f} MB"
                    )


def examples(rule: str, batch: int, length: int, device: torch.device) -> list[Tensor]:
    """The op's arguments, of random numbers."""
    torch.manual_seed(0)

    def draw(*width: int) -> Tensor:
        return torch.randn(batch, HEADS, length, *width, device=device)

    if rule == "path":
        inputs = [draw(32), draw(32), draw(32), F.normalize(draw(32), dim=-1), 2 * draw().sigmoid()]
    else:
        gates = [-0.1 * draw().abs(), draw(levels(length))]
        if rule == "log-linear delta":
            keys = F.normalize(draw(32), dim=-1)
            inputs = [draw(32), keys, draw(64), *gates, draw().sigmoid()]
        else:  # queries and keys are shared by the heads
            q, k = draw(128)[:, :1] / 12, draw(128)[:, :1] / 12
            inputs = [q, k, draw(64), *gates]
    return [x.detach().requires_grad_() for x in inputs]


def step(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs and the gradients of all inputs."""
    y = function(*inputs)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), inputs)]


def milliseconds(action: Callable[[], object]) -> float:
    """Mean time of an action, after three that warm up."""
    for _ in range(3):
        action()
    torch.cuda.synchronize()
    start = perf_counter()
    for _ in range(REPEATS):
        action()
    torch.cuda.synchronize()
    return 1e3 * (perf_counter() - start) / REPEATS


if __name__ == "__main__":
    main()
