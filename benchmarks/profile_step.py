"""Where the time of a training step goes, by kind of operation, and what it could not go below.

    python benchmarks/profile_step.py [--mixers A,B] [--width N] [--length N] [--batch N]

Two layers on MQAR, one thread. Kinds are told by the names of PyTorch's operators, as its profiler
counts them: what is neither a matrix product nor moves memory nor is one of our own is elementwise.

Two floors stand beside the time of a step: its operations over the fastest matrix product, and the
bytes that its operators read and write over the fastest copy (the fused scan's own not among them).
A program whose operators were fused would have fewer bytes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import recollect as rc
from recollect.bench.measurement import seconds
from recollect.bench.step import OPERATIONS, TRAINING, multiply_adds
from recollect.mixers.catalogue import MIXERS
from recollect.reports.tables import in_markdown
from recollect.training.optimizer import make_optimizer

TOKENS_PER_PAIR, STEPS = 16, 5
MATRIX, COPIED = 1024, 2**26
"""Rows of the matrix that is multiplied, and numbers that are copied."""
KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "addmm_", "baddbmm", "linalg_solve_triangular"),
    "attention kernel": (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    ),
    "FFT": ("_fft_r2c", "_fft_c2r", "_fft_c2c"),
    "moving memory": (
        *("copy_", "fill_", "zero_", "cat", "index", "index_add_", "gather", "constant_pad_nd"),
        *("embedding", "embedding_dense_backward", "_index_put_impl_"),
    ),
}


def kind_of(operator: str) -> str:
    """Of what kind an operator of the profile is."""
    if operator.startswith(("Fused", "_Fused")):
        return "fused scan"
    name = operator.removeprefix("aten::")
    return next((kind for kind, names in KINDS.items() if name in names), "elementwise and other")


def training_step(mixer: str, width: int, length: int, batch_size: int) -> tuple[Any, int]:
    """A step of the optimiser on one batch, and its multiply-adds."""
    task = rc.MQAR(seq_len=length, num_kv_pairs=length // TOKENS_PER_PAIR)
    batch = task.sample(batch_size, seed=0)
    config = rc.ModelConfig(mixer=mixer, d_model=width, n_layers=2)
    model = config.build(task)
    optimizer = make_optimizer(model, rc.TrainConfig())

    def step() -> None:
        loss = model.loss(batch.inputs, batch.positions, batch.targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step, TRAINING * multiply_adds(config.build(task), batch)


def shares(step: Callable[[], None]) -> dict[str, float]:
    """The share of each kind in the time of a step."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(STEPS):
            step()
    times: Counter[str] = Counter()
    for event in found.key_averages():
        times[kind_of(event.key)] += event.self_cpu_time_total
    total = times.total()
    return {kind: time / total for kind, time in times.items()}


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operators read and write; views move none."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operator, and count what it was given and gave."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += sum(_sizes((args, kwargs))) + sum(_sizes(result))
        return result


def _sizes(values: Any) -> Iterator[int]:
    for value in tree_leaves(values):
        if isinstance(value, Tensor):
            yield value.numel() * value.element_size()


def traffic(step: Callable[[], None]) -> int:
    """Bytes of a step."""
    with Traffic() as counter:
        step()
    return counter.bytes


def machine() -> tuple[float, float]:
    """Multiply-adds a second of a large matrix product, and bytes a second of a large copy."""
    one, other = torch.randn(2, MATRIX, MATRIX)
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    product = min(seconds(lambda: one @ other, 20, "cpu"))
    copy = min(seconds(lambda: target.copy_(source), 5, "cpu"))
    return MATRIX**3 / product, 2 * source.nbytes / copy


def main() -> None:
    """Print a row for each mixer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mixers", default=",".join(MIXERS))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    products, copies = machine()
    speeds = f"{OPERATIONS * products / 1e9:.0f} GFLOP/s in matrix products"
    print(f"One thread; {speeds}, {copies / 1e9:.1f} GB/s in copies.\n")
    kinds = [*KINDS, "fused scan", "elementwise and other"]
    rows = []
    for mixer in arguments.mixers.split(","):
        step, needed = training_step(mixer, arguments.width, arguments.length, arguments.batch)
        times = [
            median(seconds(step, STEPS, "cpu")),
            needed / products,
            traffic(step) / copies,
        ]
        found = shares(step)
        rows.append(
            [
                mixer,
                *(f"{1e3 * time:.0f}" for time in times),
                *(f"{100 * found.get(kind, 0):.0f}" for kind in kinds),
            ]
        )
    headings = ["mixer", "step, ms", "operations, ms", "bytes, ms"]
    print(in_markdown([*headings, *(f"{kind}, %" for kind in kinds)], rows))


if __name__ == "__main__":
    main()
