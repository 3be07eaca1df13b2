"""Kernel launches of a training step on a GPU, counted on fake tensors, and estimates of its time.

    python benchmarks/launches.py [--mixers mamba,gla] [--lengths 64,512]

Two layers (or one period of a pattern) of width 64, batches of 64. For each length the launches
with plain PyTorch and with Triton kernels are printed. Of the longest follow what the launches take
at 4 microseconds each, and the arithmetic, bytes at 2.5 TB/s and matrix products at 40 TFLOP/s, as
an H100 has them in float32: both are estimates, with the kernels. The last columns are the
megabytes that are kept for gradients in either form.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

import recollect as rc
from recollect.mixers.catalogue import MIXERS
from recollect.mixers.patterns import PATTERNS
from recollect.ops import forms
from recollect.training.optimizer import make_optimizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "gpu"))
from fake_gpu import GPU, NO_LAUNCH, fake_gpu, to_gpu

MILLISECONDS_A_LAUNCH = 4e-3
BYTES_A_MILLISECOND = 2.5e9
FLOPS_A_MILLISECOND = 4e10
BATCH, WIDTH = 64, 64


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mixers", default=",".join([*MIXERS, *PATTERNS]))
    parser.add_argument("--lengths", default="64,512")
    options = parser.parse_args()
    lengths = [int(length) for length in options.lengths.split(",")]
    heads = [f"{form}, {length}" for form in ("plain", "kernels") for length in lengths]
    heads += ["launches (ms)", "arithmetic (ms)", "kept, plain (MB)", "kept, kernels (MB)"]
    print("| mixer |", " | ".join(heads), "|")
    print("|---" * (len(heads) + 1) + "|")
    for mixer in options.mixers.split(","):
        steps = [follow(mixer, length, kernels) for kernels in (False, True) for length in lengths]
        plain, fused = steps[len(lengths) - 1], steps[-1]
        cells = [f"{step.launches:,}" for step in steps]
        cells += [f"{fused.launches * MILLISECONDS_A_LAUNCH:.2f}", f"{fused.arithmetic:.2f}"]
        cells += [f"{step.kept / 1e6:,.0f}" for step in (plain, fused)]
        print(f"| {mixer} |", " | ".join(cells), "|", flush=True)


class Step(NamedTuple):
    """What a training step takes: launches, milliseconds of arithmetic, bytes kept."""

    launches: int
    arithmetic: float
    kept: int


def follow(mixer: str, length: int, kernels: bool) -> Step:
    """The second training step."""
    task = rc.MQAR(seq_len=length, num_kv_pairs=4)
    model = rc.ModelConfig(mixer=mixer, d_model=WIDTH).build(task)
    batch = task.sample(BATCH, 0)
    with mock.patch.object(forms, "triton_runs", return_value=kernels), fake_gpu() as trace:
        there = to_gpu(model)
        optimizer = make_optimizer(there, rc.TrainConfig())
        examples = batch.to(GPU)
        for _ in range(2):
            trace.forget()
            kept: dict[int, int] = {}

            def note(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
                storage = tensor.untyped_storage()
                kept[storage._cdata] = storage.nbytes()
                return tensor

            with Arithmetic() as spent:
                with saved_tensors_hooks(note, lambda tensor: tensor):
                    loss = there.loss(examples.inputs, examples.positions, examples.targets)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
    return Step(trace.launches, spent.milliseconds, sum(kept.values()))


class Arithmetic(TorchDispatchMode):
    """Adds up how long the operators take if nothing but memory or multipliers holds them up."""

    def __init__(self) -> None:
        super().__init__()
        self.milliseconds = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._schema.name.removeprefix("aten::") not in NO_LAUNCH:
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
            self.milliseconds += sum(map(stored_bytes, tensors)) / BYTES_A_MILLISECOND
            flops = flop_registry.get(func.overloadpacket)
            if flops is not None:
                done = flops(*args, **(kwargs or {}), out_val=out)
                self.milliseconds += done / FLOPS_A_MILLISECOND
        return out


def stored_bytes(tensor: Tensor) -> int:
    """Those of a tensor, repeated ones once."""
    numbers = tensor.element_size()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        numbers *= size if stride else 1
    return numbers


if __name__ == "__main__":
    main()
