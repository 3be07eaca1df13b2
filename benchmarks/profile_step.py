"""Where the time of a training step goes, by kind of operation.

    python benchmarks/profile_step.py [--mixers A,B] [--width N] [--length N] [--batch N]

Two layers on MQAR, one thread, by PyTorch's profiler. Kinds are told by the names of PyTorch's
operators: what is neither a matrix product nor moves memory nor is one of our own is elementwise.
"""

from __future__ import annotations

import argparse
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

import recollect as rc
from recollect.mixers.catalogue import MIXERS
from recollect.reports.tables import in_markdown
from recollect.training.trial import make_optimizer

TOKENS_PER_PAIR, STEPS = 16, 5
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
    if operator.startswith(("FusedScan", "_FusedScan")):
        return "fused scan"
    name = operator.removeprefix("aten::")
    return next((kind for kind, names in KINDS.items() if name in names), "elementwise and other")


def shares(mixer: str, width: int, length: int, batch_size: int) -> dict[str, float]:
    """The share of each kind."""
    task = rc.MQAR(seq_len=length, num_kv_pairs=length // TOKENS_PER_PAIR)
    batch = task.sample(batch_size, seed=0)
    model = rc.ModelConfig(mixer=mixer, d_model=width, n_layers=2).build(task)
    optimizer = make_optimizer(model, rc.TrainConfig())

    def step() -> None:
        loss = model.loss(batch.inputs, batch.positions, batch.targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(STEPS):
            step()
    times: Counter[str] = Counter()
    for event in found.key_averages():
        times[kind_of(event.key)] += event.self_cpu_time_total
    total = times.total()
    return {kind: time / total for kind, time in times.items()}


def main() -> None:
    """Print a row for each mixer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mixers", default=",".join(MIXERS))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [*KINDS, "fused scan", "elementwise and other"]
    rows = []
    for mixer in arguments.mixers.split(","):
        found = shares(mixer, arguments.width, arguments.length, arguments.batch)
        rows.append([mixer, *(f"{100 * found.get(kind, 0):.0f}" for kind in kinds)])
    print(in_markdown(["mixer", *(f"{kind}, %" for kind in kinds)], rows))


if __name__ == "__main__":
    main()
