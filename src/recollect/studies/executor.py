"""Where trials run: in worker processes of one thread each, or in this process.

Two processes of one thread are faster on a CPU than one process of two. Small models leave a GPU
idle: there one process trains many as one program. Both kinds take jobs, and give outcomes when
asked to wait. Worker processes do any other work too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from recollect.analysis.dynamics import Dynamics
from recollect.errors import UserError
from recollect.studies.observations import save_observations
from recollect.training.checkpoint import save_weights
from recollect.training.config import TrialConfig
from recollect.training.population import run_population
from recollect.training.result import Record, TrialResult
from recollect.training.trial import run_trial

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)

TERMINATION_SECONDS = 5.0
"""How long a worker has to end when it is told to, before it is killed."""


def usable_cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class TrialFailed(RuntimeError):
    """A trial did not come to an outcome: the code of its mixer or task raised, or its worker
    died."""


class Work(Protocol):
    """What a worker process can be given; it is pickled."""

    @property
    def title(self) -> str:
        """What it is called in messages."""

    def run(self, tell: Callable[[Any], None]) -> Any:
        """Do it, and tell on the way how it goes; returns what came of it."""


AnyWork = TypeVar("AnyWork", bound=Work)


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Attributes:
        key: its identity.
        title: what it is called in messages.
        config: what is run.
        until: the step to stop at; None: at the end.
        checkpoint: what it goes on from, and leaves when it stops.
        weights: where the trained model is kept; None: nowhere.
        observations: where what was seen of the model is kept; None: it is not observed.
        device: "cpu", "cuda" or "cuda:1".
    """

    key: str
    title: str
    config: TrialConfig
    until: int | None
    checkpoint: Path
    weights: Path | None
    observations: Path | None
    device: str

    def run(self, tell: Callable[[Record], None]) -> TrialResult:
        """Run the trial in this process; `tell` is called with each validation.

        Raises:
            UserError: where the source of the mixer or task is not that of the trial: it was edited
                before this process loaded it.
        """
        if self.config.key != self.key:
            raise UserError("its mixer or task was edited meanwhile: start the study again")
        observer = _observer(self)
        result = run_trial(
            self.config,
            device=self.device,
            until=self.until,
            checkpoint=self.checkpoint,
            on_record=tell,
            observer=observer,
        )
        return _without_model(self, result, observer)


OnRecord = Callable[[Job, Record], None]
Outcome = tuple[Job, TrialResult | Exception]
"""What came of a job, or why nothing did: a `UserError` where the trial refused its config, a
`TrialFailed` where it had no outcome."""


class Executor(Protocol):
    """What runs jobs. Leaving its context ends those that run."""

    @property
    def free(self) -> int:
        """How many more jobs it takes at the moment."""

    def submit(self, job: Job) -> None:
        """Take a job; there must be room for it."""

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """The jobs that have ended since the last call; waits for news at most so long."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...


def _observer(job: Job) -> Dynamics | None:
    return None if job.observations is None else Dynamics(job.config)


def _without_model(job: Job, result: TrialResult, observer: Dynamics | None) -> TrialResult:
    """The result to be stored; weights and observations lie where the job wants them."""
    if result.status == "complete":
        assert result.model is not None
        if job.weights is not None:
            save_weights(result.model, job.weights)
        if observer is not None and job.observations is not None:
            save_observations(observer, result.model, job.observations)
    return replace(result, model=None)


class InProcess:
    """Runs jobs in this process while it is waited for: those of one shape as one program.

    Args:
        count: how many at most.
        on_record: called with each validation.
    """

    def __init__(self, count: int, on_record: OnRecord) -> None:
        assert count > 0
        self._count = count
        self._on_record = on_record
        self._jobs: list[Job] = []

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._jobs = []

    @property
    def free(self) -> int:
        """How many more it takes before it runs them."""
        return self._count - len(self._jobs)

    def submit(self, job: Job) -> None:
        """Take a job."""
        assert self.free
        self._jobs.append(job)

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """Run the jobs, if there are any, however long it takes."""
        jobs, self._jobs = self._jobs, []
        if not jobs:
            time.sleep(seconds)
        for until in dict.fromkeys(job.until for job in jobs):
            group = [job for job in jobs if job.until == until]
            title = group[0].title + (f" and {len(group) - 1} more" if len(group) > 1 else "")
            try:
                yield from self._run(group)
            except UserError as error:
                raise UserError(f"{title}: {error}") from error
            except Exception as error:
                raise TrialFailed(f"{title} raised {type(error).__name__}: {error}") from error

    def _run(self, jobs: list[Job]) -> Iterator[Outcome]:
        """Jobs that stop at the same step; a single one as `run_trial` has it."""
        if len(jobs) == 1:
            yield jobs[0], jobs[0].run(lambda record: self._on_record(jobs[0], record))
            return
        observers = [_observer(job) for job in jobs]
        for place, result in run_population(
            [job.config for job in jobs],
            device=jobs[0].device,
            until=jobs[0].until,
            checkpoints=[job.checkpoint for job in jobs],
            on_record=lambda place, record: self._on_record(jobs[place], record),
            observers=observers,
        ):
            yield jobs[place], _without_model(jobs[place], result, observers[place])


@dataclass(frozen=True)
class _News:
    """What a worker says of work that goes on."""

    told: Any


@dataclass(frozen=True)
class _Failure:
    """What a worker says of a job that raised."""

    message: str
    is_user_error: bool


class _Worker(Generic[AnyWork]):
    """A spawned process and the line to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs,), name="recollect-worker", daemon=True
        )
        with inheriting(threads=1):
            self.process.start()
        theirs.close()
        self.job: AnyWork | None = None
        self.has_started = False

    def end(self) -> None:
        self.process.terminate()
        self.process.join(TERMINATION_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


class Workers(Generic[AnyWork]):
    """A number of worker processes, each started when there is a job for it.

    Args:
        count: how many.
        on_news: called with what a running job tells: of a trial, each validation.
    """

    def __init__(self, count: int, on_news: Callable[[AnyWork, Any], None]) -> None:
        assert count > 0
        self._count = count
        self._on_news = on_news
        self._workers: list[_Worker[AnyWork]] = []

    def __enter__(self) -> Workers[AnyWork]:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []

    @property
    def free(self) -> int:
        """How many workers have no job."""
        return self._count - sum(worker.job is not None for worker in self._workers)

    def submit(self, job: AnyWork) -> None:
        """Give a job to a worker, a new one if all others have theirs."""
        idle = [worker for worker in self._workers if worker.job is None]
        if not idle:
            assert len(self._workers) < self._count
            idle = [_Worker()]
            self._workers += idle
        idle[0].job = job
        with suppress(ConnectionError):  # a worker's death is told by `wait`
            idle[0].connection.send(job)

    def wait(self, seconds: float) -> Iterator[tuple[AnyWork, Any]]:
        """The jobs that have ended, the first message awaited for at most so long; with what came
        of each, or the `UserError` or `TrialFailed` that tells why nothing did. The other workers
        go on."""
        busy = [worker for worker in self._workers if worker.job is not None]
        ready = wait([worker.connection for worker in busy], seconds)
        for worker in busy:
            if worker.connection in ready:
                yield from self._receive(worker)

    def _receive(self, worker: _Worker[AnyWork]) -> Iterator[tuple[AnyWork, Any]]:
        """The next message of a worker; an outcome, if it is the end of its job."""
        job = worker.job
        assert job is not None
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionError):
            death = TrialFailed(_obituary(worker, job))
            self._workers.remove(worker)
            worker.end()
            yield job, death
            return
        if message is None:
            worker.has_started = True
        elif isinstance(message, _News):
            self._on_news(job, message.told)
        else:
            worker.job = None
            yield job, _reason(job, message) if isinstance(message, _Failure) else message


def _reason(job: Work, failure: _Failure) -> Exception:
    if failure.is_user_error:
        return UserError(f"{job.title}: {failure.message}")
    return TrialFailed(f"{job.title} raised in its worker:\n{failure.message}")


def _obituary(worker: _Worker[AnyWork], job: AnyWork) -> str:
    worker.process.join(TERMINATION_SECONDS)
    code = worker.process.exitcode
    if not worker.has_started:
        return (
            f"a worker process ended with code {code} before it could begin; in a script of one's"
            ' own, what starts a study must stand below `if __name__ == "__main__":`'
        )
    if code == -signal.SIGKILL:
        return (
            f"the worker that trained {job.title} was killed, most often because memory ran out:"
            " take fewer workers or a smaller batch"
        )
    return f"the worker that trained {job.title} died with code {code}"


def _work(connection: Connection) -> None:
    """The life of a worker."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=die_with_parent, daemon=True).start()
    connection.send(None)
    while True:
        try:
            job = connection.recv()
            connection.send(job.run(lambda told: connection.send(_News(told))))
        except EOFError:
            return
        except UserError as error:
            connection.send(_Failure(str(error), is_user_error=True))
        except Exception:
            connection.send(_Failure(traceback.format_exc(), is_user_error=False))


def die_with_parent() -> None:
    """Wait for the end of the process that spawned this one, and end with it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def inheriting(threads: int) -> Iterator[None]:
    """What a process started here inherits: so many threads for every library, and no Ctrl-C, which
    the terminal sends to all and the parent answers for all."""
    saved = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
