"""Host information, with the peak speed of matrix products."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import torch

from recollect.bench.child import MeasurementFailed, in_child
from recollect.bench.measurement import Measurement, Place, seconds
from recollect.bench.settings import BenchSettings
from recollect.errors import UserError
from recollect.execution.workers import usable_cores
from recollect.training.device import processor_name

MATRIX = {"cpu": 1024, "cuda": 8192}
"""Size of the square matrices; larger ones reach no higher speed."""


@dataclass(frozen=True)
class Machine:
    """The machine of a measurement.

    Attributes:
        processor: the name of the processor.
        cores: the number of cores that this process may use.
        memory_bytes: the memory of the machine.
        system: the operating system.
        python: version of Python.
        torch: version of PyTorch.
        recollect: version of this package.
        device: "cpu", or the name of the GPU.
        threads: the number of threads of every library in measured processes.
        repeats: the repetitions of every measurement.
        matmul_peak: the highest speed of a product of two large float32 matrices, in floating-point
            operations per second.
    """

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    torch: str
    recollect: str
    device: str
    threads: int
    repeats: int
    matmul_peak: float


def measure_machine(settings: BenchSettings) -> tuple[Machine, Measurement]:
    """This machine, and the measurement of its matrix products.

    Raises:
        UserError: if the measurement fails.
    """
    place = torch.device(settings.device)
    try:
        (matmul,) = in_child(_matmul, settings, threads=settings.threads)
    except MeasurementFailed as failure:
        raise UserError(f"cannot measure a matrix product on {place}: {failure}") from failure
    cuda = place.type == "cuda"
    machine = Machine(
        processor=processor_name(),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.system(),
        python=platform.python_version(),
        torch=torch.__version__,
        recollect=version("recollect"),
        device=torch.cuda.get_device_name(place) if cuda else "cpu",
        threads=settings.threads,
        repeats=settings.repeats,
        matmul_peak=matmul.high * 1e9,
    )
    return machine, matmul


def _matmul(settings: BenchSettings) -> Iterator[Measurement]:
    size = MATRIX[torch.device(settings.device).type]
    one, other = torch.randn(2, size, size, device=settings.device)
    times = seconds(lambda: one @ other, settings.repeats, settings.device)
    rates = [2 * size**3 / time / 1e9 for time in times]
    place = Place("machine", "float32 matrix product", {"size": size})
    yield place.measured("speed", "GFLOP/s", rates)
