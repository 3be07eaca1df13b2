"""GPU time of a training step of many models, by kernel.

    python benchmarks/gpu_profile.py MIXER [--batch 512] [--models 64]

Two layers of width 64 on MQAR with 64 tokens. Lines: milliseconds in a step, launches in a step,
and the kernel's name, the longest first.
"""

from __future__ import annotations

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from recollect.bench import gpu_speed
from recollect.training.device import describe_device, resolve_device

SHOWN = 14


def main() -> None:
    """Print the kernels."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mixer")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--models", type=int, default=64)
    options = parser.parse_args()
    device = resolve_device("cuda")
    config = gpu_speed.trial_of(options.mixer, 64, options.batch)
    steps = gpu_speed.Together(config, options.models, device)
    steps()  # compiles kernels and captures the step
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        steps()
        torch.cuda.synchronize()
    kernels = sorted(profiled.key_averages(), key=lambda each: -each.self_device_time_total)
    total = sum(each.self_device_time_total for each in kernels)
    print(f"{describe_device(device)}: {total / 1e3 / gpu_speed.STEPS:.1f} ms a step")
    for each in kernels[:SHOWN]:
        milliseconds = each.self_device_time_total / 1e3 / gpu_speed.STEPS
        print(f"{milliseconds:8.2f} {each.count / gpu_speed.STEPS:6.1f}  {each.key[:100]}")


if __name__ == "__main__":
    main()
