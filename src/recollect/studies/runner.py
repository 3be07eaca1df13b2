"""Running a study: plan, train, store, until no cell asks for more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from recollect.config import digest
from recollect.errors import FatalError
from recollect.execution.executor import EXECUTORS, Executor
from recollect.execution.failure import Failure, WorkerLost
from recollect.execution.job import Job, Keep, OnRecord
from recollect.execution.places import place
from recollect.execution.spawning import check_start
from recollect.identity import references
from recollect.studies.cell import Cell
from recollect.studies.estimate import Estimate
from recollect.studies.events import (
    CellDone,
    OnEvent,
    StudyStarted,
    TrialEnded,
    TrialRaised,
    TrialRecorded,
    TrialStarted,
)
from recollect.studies.leases import Leases
from recollect.studies.replay import WAITING, Plan, Request, Trials
from recollect.studies.standing import cell_done
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.studies.widths import narrower, rate_from, unsettled
from recollect.training.result import Record, TrialResult

POLL_SECONDS = 0.5
"""How often the store is looked at for results of other processes."""


def run_study(
    study: Study,
    store: Store,
    *,
    workers: int | None = None,
    device: str = "auto",
    population: int | None = None,
    on: str | None = None,
    options: Mapping[str, str] | None = None,
    artifacts: str | None = None,
    keep_weights: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
    whole: Sequence[Cell] | None = None,
    on_event: OnEvent = lambda _: None,
) -> int:
    """Run a study into an open store, or what of it is not there yet.

    A trial that raises is stored as failed, and the others go on.

    Args:
        study: what to run.
        store: where results are, and go to.
        workers: processes that train on the CPU, one for each core if not given; 0: train in this
            process, as a GPU always does.
        device: "cpu", "cuda", "cuda:1", "auto": a GPU if there is one; "cuda:0,cuda:1" or
            "cuda:all": a process for each.
        population: how many trials of one shape a process trains as one program at most; 64 on a
            GPU, 1 on the CPU, where it is slower than one after the other, if not given.
        on: the executor that runs trials, by its name in `EXECUTORS`; None: "processes" on CPUs and
            on several GPUs, "population" on one GPU and for `workers=0`.
        options: further words of the executor.
        artifacts: the folder or the URL for checkpoints, weights and observations, see
            `open_artifacts`; None: where they are, at first the folder beside the store.
        keep_weights: whether trained models are kept.
        fresh: whether to forget first the stored trials that the study looks at; where another
            study of the store looks at one of them, nothing is forgotten or run.
        retry_failed: whether to try again the trials that have failed.
        whole: every cell of the study of which this is a part, see `Store.record_study`; None: this
            is all of it.
        on_event: told what happens, in this thread.

    Returns:
        How many trials that its cells have looked at have failed.

    Raises:
        UserError: for a study that cannot be run as it is, or that nothing can go on with. All that
            had ended before is stored.
    """
    store.prepare_writing()
    name, placement = place(
        device=device, workers=workers, population=population, on=on, options=options
    )
    check_start(placement.workers)
    store.put_artifacts(artifacts)
    study.check()
    cells = study.cells()
    with Leases(store) as leases:
        if fresh:
            leases.forget(study.name, cells, cells if whole is None else whole)
        if retry_failed:
            store.forget_failures(cells)
        store.record_study(study.name, _settings(study), cells, whole)
        runner = _Runner(
            store,
            leases,
            (*cells, *_unsettled(study, store, cells)),
            narrower(store.cells(study.name)),
            ",".join(placement.devices),
            keep_weights,
            study.observe,
            on_event,
        )
        runner.run(partial(EXECUTORS[name], placement), placement.workers)
        return runner.failed


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


class _Runner:
    """The state of a run: which cells are open, what they ask for, which trials are running."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        cells: tuple[Cell, ...],
        narrow: dict[str, Cell],
        place: str,
        keep_weights: bool,
        observe: bool,
        on_event: OnEvent,
    ) -> None:
        self._store = store
        self._leases = leases
        self._cells = cells
        self._narrow = narrow
        self._wide = {narrow[cell.label].label: cell for cell in cells if cell.label in narrow}
        self._place = place
        self._keep_weights = keep_weights
        self._observe = observe
        self._tell = on_event
        self._plans: dict[str, Plan] = {}
        self._outdated = {cell.label for cell in cells}
        self._running: dict[str, tuple[Cell, Request]] = {}
        self._lost: set[str] = set()
        self._estimate = Estimate()
        self._version = store.version()

    def run(self, start: Callable[[OnRecord], Executor], workers: int) -> None:
        """Until no cell asks for more."""
        done = self._replan()
        self._tell(StudyStarted(cells=len(self._cells), done=len(done), workers=workers))
        self._estimate.begin()
        with start(self._recorded) as executor:
            while self._open():
                self._submit(executor)
                self._take(executor)
                self._notice_others()
                for cell in self._replan():
                    self._tell(self._choice(cell))

    @property
    def failed(self) -> int:
        """How many trials have failed."""
        return sum(len(self._plans[cell.label].failed) for cell in self._cells)

    def _open(self) -> list[Cell]:
        return [cell for cell in self._cells if not self._plans[cell.label].done]

    def _replan(self) -> list[Cell]:
        """Plan the cells with news, from the narrowest; returns those that are done by it."""
        outdated = [cell for cell in self._cells if cell.label in self._outdated]
        outdated.sort(key=lambda cell: cell.d_model)
        done = []
        for cell in outdated:
            trials = self._store.trials(cell, observed=self._observe)
            plan = self._plan(cell, trials)
            self._plans[cell.label] = plan
            self._estimate.update(cell, plan, trials)
            if plan.done:
                done.append(cell)
                wide = self._wide.get(cell.label)
                if wide is not None and wide not in outdated:
                    outdated.append(wide)
        self._outdated.clear()
        self._tidy(done)
        return done

    def _plan(self, cell: Cell, trials: Trials) -> Plan:
        """Around the rate of the next smaller width, once that is known."""
        narrow = self._narrow.get(cell.label)
        if narrow is None:
            return cell.plan(trials)
        if narrow.label in self._plans:
            before = self._plans[narrow.label]
            if not before.done:
                return WAITING
        else:  # a part of the study is run without it
            before = self._plan(narrow, self._store.trials(narrow))
        return cell.plan(trials, rate_from(before, cell.chance))

    def _tidy(self, cells: list[Cell]) -> None:
        """Remove the checkpoints of stopped trials, which nothing will ask for again."""
        taken = self._leases.elsewhere() if cells else set()
        for cell in cells:
            for trial in self._plans[cell.label].used:
                if cell.key(*trial) not in taken:
                    self._store.artifacts.sweep(cell.key(*trial))

    def _submit(self, executor: Executor) -> None:
        """Fill the executor with what is asked for, by the order of cells."""
        if not executor.free:
            return
        taken = self._leases.elsewhere() | self._running.keys()
        for cell in self._open():
            for request in self._plans[cell.label].requests:
                key = cell.key(request.learning_rate, request.seed)
                if key in taken or not self._claim(cell, request):
                    continue
                self._running[key] = (cell, request)
                self._tell(TrialStarted(cell, request))
                executor.submit(self._job(key, cell, request))
                if not executor.free:
                    return

    def _claim(self, cell: Cell, request: Request) -> bool:
        return self._leases.claim(cell, request, observe=self._observe)

    def _job(self, key: str, cell: Cell, request: Request) -> Job:
        keep: set[Keep] = {"weights"} if self._keep_weights else set()
        if self._observe:
            keep.add("observations")
        trial = cell.trial(request.learning_rate, request.seed)
        return Job(
            key=key,
            title=f"{cell.label} at {request.learning_rate:g}, seed {request.seed}",
            trial=trial,
            classes=references(trial),
            until=request.until,
            keep=frozenset(keep),
            artifacts=self._store.artifacts.address,
        )

    def _take(self, executor: Executor) -> None:
        """Absorb the outcomes that are there; one that ends the run is raised after the others."""
        errors = []
        for job, result in executor.wait(POLL_SECONDS):
            if isinstance(result, FatalError):
                errors.append(result)
            elif isinstance(result, Exception):
                self._note_failure(job, result)
            else:
                self._absorb(job, result)
        if errors:
            raise errors[0]

    def _note_failure(self, job: Job, error: Exception) -> None:
        """Store a failure; a trial whose worker died is tried once more, as that may have been the
        fault of the machine or of its neighbours."""
        cell, request = self._running.pop(job.key)
        self._outdated.add(cell.label)
        if not self._leases.holds(job.key):
            return
        failure, again = Failure.of(error), isinstance(error, WorkerLost)
        again = again and job.key not in self._lost
        if again:
            self._lost.add(job.key)
        else:
            trial = request.learning_rate, request.seed
            self._store.save_failure(cell, *trial, failure, self._place)
        self._leases.give_up(job.key)
        self._tell(TrialRaised(cell, request, failure.message, again))

    def _absorb(self, job: Job, result: TrialResult) -> None:
        cell, request = self._running.pop(job.key)
        self._outdated.add(cell.label)
        if not self._leases.holds(job.key):
            return
        self._store.save(cell, request.learning_rate, request.seed, result)
        self._leases.give_up(job.key)
        if result.status != "stopped":
            self._store.artifacts.sweep(job.key)
        done = self._replan()  # before the time left is told
        self._tell(
            TrialEnded(
                cell,
                request,
                result=replace(result, model=None),
                seconds_left=self._estimate.seconds_left(),
            )
        )
        for each in done:
            self._tell(self._choice(each))

    def _notice_others(self) -> None:
        """Cells may have got results from other processes."""
        version = self._store.version()
        if version != self._version:
            self._outdated |= {cell.label for cell in self._open()}
            self._version = version

    def _recorded(self, job: Job, record: Record) -> None:
        self._tell(TrialRecorded(*self._running[job.key], record))

    def _choice(self, cell: Cell) -> CellDone:
        return cell_done(
            cell,
            self._plans[cell.label],
            self._store.trials(cell),
            done=len(self._cells) - len(self._open()),
            cells=len(self._cells),
        )
