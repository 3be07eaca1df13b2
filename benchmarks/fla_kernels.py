"""Time and error of the memory kernels beside those of fla-core, on a GPU.

    python benchmarks/fla_kernels.py [RULE ...] [--lengths 64,512] [--sequences 2048]

Rules: simple_gla (decay per head), gla (per channel), gated_delta_rule, kda. One head of width 64.
Times are of the forward and the backward pass together, in milliseconds, the median of 10. Errors
are the largest difference of outputs and gradients from the plain form in float64, divided by the
largest value. fla-core's delta rule without a decay takes no float32. `--warm` only compiles.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from recollect.ops.delta_rule import delta_rule
from recollect.ops.outer_product import outer_product_memory
from recollect.training.device import describe_device, resolve_device

WIDTH, REPEATS, COMPARED = 64, 10, 8
RULES = ("simple_gla", "gla", "gated_delta_rule", "kda")
Rule = Callable[..., Tensor]


def main() -> None:
    """Print a line for each rule, length and implementation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rules", nargs="*", default=RULES)
    parser.add_argument("--lengths", default="64,512")
    parser.add_argument("--sequences", type=int, default=2048)
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    device = resolve_device("cuda")
    fla = importlib.import_module("fla")
    print(f"{describe_device(device)}, PyTorch {torch.__version__}, fla-core {fla.__version__}")
    print(f"{options.sequences} sequences, one head of width {WIDTH}")
    for rule in options.rules:
        for length in map(int, options.lengths.split(",")):
            inputs = examples(rule, options.sequences, length, device)
            exact = results(ours, rule, [x[:COMPARED].double() for x in inputs])
            for name, function, dtype in (
                ("ours float32", ours, torch.float32),
                ("fla float32", theirs, torch.float32),
                ("fla bfloat16", theirs, torch.bfloat16),
            ):
                given = [x.to(dtype) for x in inputs]
                found = results(function, rule, [x[:COMPARED] for x in given])
                if options.warm:
                    milliseconds(function, rule, given, 1)
                    continue
                error = max(map(distance, found, exact))
                time = milliseconds(function, rule, given, REPEATS)
                print(f"{rule:17} {length:5} {name:13} {time:9.2f} ms  error {error:.1e}")


def examples(rule: str, sequences: int, length: int, device: torch.device) -> list[Tensor]:
    """Queries, keys, values and log decays, and for delta rules strengths: (batch, L, 1, d)."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, sequences, length, 1, WIDTH, device=device)
    by_channel = rule in ("gla", "kda")
    gates = torch.randn(sequences, length, 1, WIDTH if by_channel else 1, device=device)
    inputs = [q * WIDTH**-0.5, F.normalize(k, dim=-1), v, F.logsigmoid(gates + 3)]
    if rule in ("gated_delta_rule", "kda"):
        inputs.append(torch.rand(sequences, length, 1, 1, device=device))
    return inputs


def ours(_: str, inputs: Sequence[Tensor]) -> Tensor:
    """The op of this repository; heads stand before positions."""
    q, k, v, decay, *strength = (x.transpose(1, 2) for x in inputs)
    if strength:
        return delta_rule(q, k, v, strength[0].squeeze(-1), decay)[0].transpose(1, 2)
    return outer_product_memory(q, k, v, decay).transpose(1, 2)


def theirs(rule: str, inputs: Sequence[Tensor]) -> Tensor:
    """The chunked kernel of fla-core; positions stand before heads."""
    function = getattr(importlib.import_module(f"fla.ops.{rule}"), f"chunk_{rule}")
    q, k, v, decay, *strength = inputs
    gates = decay if rule in ("gla", "kda") else decay.squeeze(-1)
    given = {"q": q, "k": k, "v": v, "g": gates, "scale": 1.0}
    if strength:
        given["beta"] = strength[0].squeeze(-1)
    outputs: Tensor = function(**given)[0]
    return outputs


def results(function: Rule, rule: str, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs and the gradients of all inputs, for a fixed gradient of the outputs."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = function(rule, inputs)
    weight = torch.linspace(-1, 1, outputs.numel(), device=outputs.device).view_as(outputs)
    return [outputs, *torch.autograd.grad(outputs, inputs, weight.to(outputs.dtype))]


def distance(found: Tensor, exact: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return ((found.double() - exact).abs().max() / exact.abs().max()).item()


def milliseconds(function: Rule, rule: str, inputs: Sequence[Tensor], repeats: int) -> float:
    """Median time of the forward and the backward pass, after one that compiles kernels."""
    times = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize()
        start = perf_counter()
        results(function, rule, inputs)
        torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return 1e3 * median(times[1:])


if __name__ == "__main__":
    main()
