"""Running a study: choosing executor and cells, and preparing the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from recollect.config import digest
from recollect.execution.artifacts import Artifacts, open_artifacts, try_writing
from recollect.execution.executor import EXECUTORS
from recollect.execution.job import Keep
from recollect.execution.places import place
from recollect.execution.spawning import check_start
from recollect.studies.cell import Cell
from recollect.studies.events import OnEvent
from recollect.studies.leases import Leases
from recollect.studies.measures import check_directions, directions_in
from recollect.studies.part import Part
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.studies.study_run import StudyRun
from recollect.studies.widths import narrower, unsettled

if TYPE_CHECKING:
    import torch


def run_study(
    study: Study,
    store: Store,
    *,
    on: str | None = None,
    workers: int | None = None,
    device: str | torch.device = "auto",
    population: int | None = None,
    artifacts: str | None = None,
    options: Mapping[str, str] | None = None,
    keep_weights: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
    whole: Sequence[Cell] | None = None,
    part: Part | None = None,
    on_event: OnEvent = lambda _: None,
) -> int:
    """Run the trials of a study that are missing in an open store.

    A trial that raises an exception is stored as failed, and the others continue.

    Args:
        study: the study.
        store: the store to read from and write to.
        on: the name of an executor ("processes", "population", "ray"); None: processes on CPUs
            and on several GPUs, this process with workers=0 and on one GPU.
        workers: number of training processes on the CPU; None: one per core; 0: train in this
            process.
        device: "cpu", "cuda", "cuda:1", several GPUs as "cuda:0,cuda:1" or "cuda:all" (one process
            each), or "auto": a GPU if there is one.
        population: largest number of trials of one shape that a process trains as one program;
            None: 64 on a GPU, and 1 on the CPU, where populations are slower.
        artifacts: address (`open_artifacts`) of checkpoints and other files while the study runs;
            files to keep are copied to the folder beside the store. None: that folder.
        options: further settings of an executor.
        keep_weights: whether to store trained models beside the store.
        fresh: whether to delete the stored trials that the study uses first. If another study uses
            one of them, nothing is deleted or run.
        retry_failed: whether to run failed trials again.
        whole: all cells of the study if `study` is a part of it, see `Store.record_study`; None:
            `study` is the whole.
        part: the part of the cells to run; None: all.
        on_event: called with each event, in this thread.

    Returns:
        The number of failed trials that the study used.

    Raises:
        UserError: for a study that cannot be run, or an error that ends the run; finished trials
            are stored.
    """
    store.file.prepare_writing()
    name, placement = place(on, device, workers, population, options or {})
    make_executor = EXECUTORS[name]
    left: Artifacts = store.artifacts
    if artifacts is not None:
        left = open_artifacts(artifacts)
        try_writing(left)
    check_start(placement.workers)
    study.check()
    check_directions(directions_in(store.rows), study.metric_directions(), store.path)
    cells = study.cells()
    if part is not None:
        whole = cells if whole is None else whole
        cells = part.of(cells)
    with Leases(store, left) as leases:
        if fresh:
            leases.forget(study.name, cells, cells if whole is None else whole)
        if retry_failed:
            store.forget_failures(cells)
        store.record_study(study.name, _settings(study), cells, whole)
        run = StudyRun(
            leases,
            (*cells, *_unsettled(study, store, cells)),
            _kept(weights=keep_weights, observations=study.observe),
            on_event,
            narrower(store.cells(study.name)),
            ", ".join(placement.devices),
        )
        run.begin(placement.workers or (None if name == "ray" else 0))
        with make_executor(placement, run.recorded) as executor:
            run.go(executor)
        return run.board.failed


def _kept(**wanted: bool) -> frozenset[Keep]:
    kinds: tuple[Keep, ...] = get_args(Keep)
    return frozenset(kind for kind in kinds if wanted[kind])


def _unsettled(study: Study, store: Store, cells: Sequence[Cell]) -> list[Cell]:
    """Cells finished by earlier runs that this part of the study may change."""
    listed = store.cells(study.name)
    if len(listed) == len(cells):
        return []
    stored = {cell.label: store.trials(cell, observed=study.observe) for cell in listed}
    return unsettled(listed, {cell.label for cell in cells}, stored)


def _settings(study: Study) -> str:
    """Digest of what the cells of a study share, also in parts of it."""
    common = study.model_dump(mode="json", include={"train", "search", "variants", "test_tasks"})
    return digest(common)
