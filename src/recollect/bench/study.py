"""`study`: trials per hour of a small study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from recollect.bench.measurement import Place, Result
from recollect.bench.settings import BenchSettings
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.studies.results import cells_frame
from recollect.studies.runner import run_study
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

STUDY = Study(
    "bench",
    tasks=[MQAR(seq_len=64, num_kv_pairs=4)],
    models=[ModelConfig(mixer="attention", d_model=64)],
    train=TrainConfig(steps=100, batch_size=64),
    search=FixedGrid(rates=(1e-3, 3e-3, 1e-2, 3e-2)),
    seeds=(42, 123),
)


def bench_study(settings: BenchSettings) -> Iterator[Result]:
    """Trials per hour of `rc.run`, with one process per core, or a population on a GPU."""
    yield from measure_study(STUDY, settings)


def measure_study(study: Study, settings: BenchSettings) -> Iterator[Result]:
    """Measure a study from the call to the table.

    The time includes the start of worker processes, validation and test. The search must request
    all trials at once.
    """
    times = [_seconds(study, settings.device) for _ in range(settings.repeats)]
    trials = sum(cell.search.expected_trials(len(study.seeds)) for cell in study.cells())
    setting = {"trials": trials, "steps": study.train.steps, "batch": study.train.batch_size}
    place = Place("study", " ".join(task.label for task in study.tasks), setting)
    yield place.measured("trials", "1/h", [3600 * trials / time for time in times])


def _seconds(study: Study, device: str) -> float:
    with TemporaryDirectory() as folder:
        start = perf_counter()
        with Store(Path(folder) / "bench.db") as store:
            failed = run_study(study, store, device=device)
            cells_frame(store, study.name)
        seconds = perf_counter() - start
    if failed:
        raise UserError(f"{failed} trials of {study.name} failed, so its time means nothing")
    return seconds
