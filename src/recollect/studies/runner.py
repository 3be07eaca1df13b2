"""Running a study: where it runs, which of its cells, and on what of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

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


def run_study(
    study: Study,
    store: Store,
    *,
    on: str | None = None,
    workers: int | None = None,
    device: str = "auto",
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
    """Run a study into an open store, or what of it is not there yet.

    A trial that raises is stored as failed, and the others go on.

    Args:
        study: what to run.
        store: where results are, and go to.
        on: the name of an executor ("processes", "population", "ray"); None: processes on CPUs
            and on several GPUs, this process with workers=0 and on one GPU.
        workers: processes that train on the CPU, one for each core if not given; 0: train in this
            process.
        device: "cpu", "cuda", "cuda:1", several GPUs as "cuda:0,cuda:1" or "cuda:all", each with a
            process of its own, or "auto": a GPU if there is one.
        population: how many trials of one shape a process trains as one program at most; 64 on a
            GPU, 1 on the CPU, where it is slower than one after the other, if not given.
        artifacts: where checkpoints and what trials leave lie while the study runs, as
            `open_artifacts` takes it; what is kept comes to the folder beside the store. None: all
            of it lies in that folder.
        options: further settings of an executor.
        keep_weights: whether trained models are kept beside the store.
        fresh: whether to forget first the stored trials that the study looks at; where another
            study of the store looks at one of them, nothing is forgotten or run.
        retry_failed: whether to try again the trials that have failed.
        whole: every cell of the study of which this is a part, see `Store.record_study`; None: this
            is all of it.
        part: which of its cells to run; None: all.
        on_event: told what happens, in this thread.

    Returns:
        How many trials that its cells have looked at have failed.

    Raises:
        UserError: for a study that cannot be run as it is, or that nothing can go on with. All that
            had ended before is stored.
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
            store,
            leases,
            (*cells, *_unsettled(study, store, cells)),
            left,
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
    """What earlier runs have finished, and this part of the study may change."""
    listed = store.cells(study.name)
    if len(listed) == len(cells):
        return []
    stored = {cell.label: store.trials(cell, observed=study.observe) for cell in listed}
    return unsettled(listed, {cell.label for cell in cells}, stored)


def _settings(study: Study) -> str:
    """What the cells of a study have in common, however it is narrowed."""
    common = study.model_dump(mode="json", include={"train", "search", "variants", "test_tasks"})
    return digest(common)
