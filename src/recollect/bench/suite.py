"""All benchmarks by name, run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recollect.bench.data import bench_data
from recollect.bench.machine import Machine, measure_machine
from recollect.bench.measurement import LeftOut, Measurement, Result
from recollect.bench.mixers import bench_mixers
from recollect.bench.settings import BenchSettings
from recollect.bench.startup import bench_startup
from recollect.bench.step import bench_step, step_tasks
from recollect.bench.study import bench_study
from recollect.errors import unknown

BENCHMARKS: Mapping[str, Callable[[BenchSettings, Machine], Iterator[Result]]] = {
    "data": lambda settings, _: bench_data(settings),
    "step": lambda settings, machine: bench_step(settings, machine.matmul_peak),
    "study": lambda settings, _: bench_study(settings),
    "mixers": lambda settings, _: bench_mixers(settings),
    "startup": lambda settings, _: bench_startup(settings),
}


@dataclass(frozen=True)
class BenchReport:
    """All measurements on a machine."""

    machine: Machine
    measurements: tuple[Measurement, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "machine": asdict(self.machine),
            "measurements": [asdict(each) for each in self.measurements],
            "left_out": [asdict(each) for each in self.left_out],
        }


def run_suite(
    names: Sequence[str], settings: BenchSettings, on_progress: Callable[[str], None]
) -> BenchReport:
    """Run benchmarks, in a fixed order.

    Args:
        names: names of benchmarks; empty: all.
        settings: the settings.
        on_progress: a function that is called with a text about the current work.

    Raises:
        UserError: for an unknown name or a length that a benchmark cannot have, or if the machine
            cannot be measured.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
    chosen = [name for name in BENCHMARKS if not names or name in names]
    if "step" in chosen:
        step_tasks(settings)  # raises for wrong lengths before anything is measured
    on_progress("the machine")
    machine, matmul = measure_machine(settings)
    results: list[Result] = [matmul]
    for name in chosen:
        on_progress(name)
        for result in BENCHMARKS[name](settings, machine):
            results.append(result)
            on_progress(f"{name}: {result.subject} is done")
    return BenchReport(
        machine,
        tuple(each for each in results if isinstance(each, Measurement)),
        tuple(each for each in results if isinstance(each, LeftOut)),
    )
