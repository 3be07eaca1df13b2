"""Milliseconds of the selective scan and of a Mamba layer, forward and backward, on the CPU.

    python benchmarks/scan.py [--threads 1] [--repeats 20]

The sizes are those of one layer at d_model 64 in a batch of 128 examples of 64 tokens.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.mixers.mamba import Mamba
from recollect.ops.scan import selective_scan, selective_scan_definition

BATCH, LENGTH, D_MODEL, CHANNELS, D_STATE = 128, 64, 64, 128, 16


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    x, delta = torch.randn(2, BATCH, LENGTH, CHANNELS)
    B, C = torch.randn(2, BATCH, LENGTH, D_STATE)
    A = -torch.arange(1.0, D_STATE + 1).repeat(CHANNELS, 1)
    scanned = (x, F.softplus(delta - 4), A, B, C)
    layer = Mamba(D_MODEL)
    u = torch.randn(BATCH, LENGTH, D_MODEL)
    print(
        f"batch {BATCH}, length {LENGTH}, {CHANNELS} channels, {D_STATE} states,"
        f" {options.threads} thread(s), median of {options.repeats}"
    )
    cases: dict[str, tuple[Callable[..., Tensor], Sequence[Tensor], Sequence[Tensor]]] = {
        "scan, definition": (lambda *inputs: selective_scan_definition(*inputs)[0], scanned, ()),
        "scan, fused": (lambda *inputs: selective_scan(*inputs)[0], scanned, ()),
        "Mamba layer": (layer, (u,), list(layer.parameters())),
    }
    for name, (function, inputs, parameters) in cases.items():
        forward, backward = milliseconds(function, inputs, parameters, options.repeats)
        print(f"{name:17} forward {forward:7.1f} ms   backward {backward:7.1f} ms")


def milliseconds(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    repeats: int,
) -> tuple[float, float]:
    """Medians of the forward and the backward pass, after one that warms up."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        y = function(*inputs)
        middle = perf_counter()
        torch.autograd.grad(y, [*inputs, *parameters], torch.ones_like(y))
        times.append((middle - start, perf_counter() - middle))
    forward, backward = zip(*times[1:], strict=True)
    return 1e3 * median(forward), 1e3 * median(backward)


if __name__ == "__main__":
    main()
