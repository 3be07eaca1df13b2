"""Worker processes of one thread each, and what they are given to do.

Two processes of one thread are faster on a CPU than one process of two.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, Protocol, TypeVar

from recollect.errors import FatalError
from recollect.execution.failure import Failure, Raised, WorkerLost

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


class Work(Protocol):
    """What a worker process can be given; it is pickled."""

    @property
    def title(self) -> str:
        """What it is called in messages."""

    def run(self, tell: Callable[[Any], None]) -> Any:
        """Do it, and tell on the way how it goes; returns what came of it."""


AnyWork = TypeVar("AnyWork", bound=Work)


@dataclass(frozen=True)
class _News:
    """What a worker says of work that goes on."""

    told: Any


class _Worker(Generic[AnyWork]):
    """A spawned process and the line to it."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, threads), name="recollect-worker", daemon=True
        )
        with inheriting(threads):
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
        on_news: called with what a running job tells.
        threads: of each.
    """

    def __init__(
        self, count: int, on_news: Callable[[AnyWork, Any], None], threads: int = 1
    ) -> None:
        assert count > 0
        self._count = count
        self._on_news = on_news
        self._threads = threads
        self._workers: dict[int, _Worker[AnyWork]] = {}

    def __enter__(self) -> Workers[AnyWork]:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers = {}

    @property
    def idle(self) -> list[int]:
        """The numbers of the workers that have no job, those that run already first."""
        busy = {number for number, worker in self._workers.items() if worker.job is not None}
        return sorted({*range(self._count)} - busy, key=lambda n: (n not in self._workers, n))

    @property
    def free(self) -> int:
        """How many workers have no job."""
        return len(self.idle)

    def submit(self, job: AnyWork, number: int | None = None) -> None:
        """Give a job to a worker, the one with this number or any that is idle."""
        number = self.idle[0] if number is None else number
        worker = self._workers.get(number)
        if worker is None:
            worker = self._workers[number] = _Worker(self._threads)
        assert worker.job is None
        worker.job = job
        with suppress(ConnectionError):  # a worker's death is told by `wait`
            worker.connection.send(job)

    def wait(self, seconds: float) -> Iterator[tuple[AnyWork, Any]]:
        """The jobs that have ended, the first message awaited for at most so long; with what came
        of each, or why nothing did: a `TrialFailed` (a `WorkerLost` where the process died), or a
        `FatalError`. The other workers go on."""
        busy = {n: worker for n, worker in self._workers.items() if worker.job is not None}
        ready = {*wait([worker.connection for worker in busy.values()], seconds)}
        for number, worker in busy.items():
            if worker.connection in ready:
                yield from self._receive(number)

    def _receive(self, number: int) -> Iterator[tuple[AnyWork, Any]]:
        """The next message of a worker; an outcome, if it is the end of its job."""
        worker = self._workers[number]
        job = worker.job
        assert job is not None
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionError):
            death = _death(worker, job)
            del self._workers[number]
            worker.end()
            yield job, death
            return
        if message is None:
            worker.has_started = True
        elif isinstance(message, _News):
            self._on_news(job, message.told)
        else:
            worker.job = None
            yield job, message.reason(job.title) if isinstance(message, Raised) else message


def _death(worker: _Worker[AnyWork], job: AnyWork) -> Exception:
    worker.process.join(TERMINATION_SECONDS)
    code = worker.process.exitcode
    if not worker.has_started and code is not None and code >= 0:
        return FatalError(
            f"a worker process ended with code {code} before it could begin; in a script of one's"
            ' own, what starts a study must stand below `if __name__ == "__main__":`'
        )
    if code == -signal.SIGKILL:
        end = "was killed, most often because memory ran out: take fewer workers or a smaller batch"
    else:
        end = f"died with code {code}"
    return WorkerLost(f"the worker that trained {job.title} {end}", Failure(f"its worker {end}"))


def _work(connection: Connection, threads: int) -> None:
    """The life of a worker."""
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=die_with_parent, daemon=True).start()
    with suppress(ConnectionError):  # nobody is there any more
        _serve(connection)


def _serve(connection: Connection) -> None:
    """Do what comes, until nothing comes any more."""
    connection.send(None)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        except Exception as error:  # what was sent cannot be read here
            connection.send(Raised.by(error))
        else:
            connection.send(_outcome(job, lambda told: connection.send(_News(told))))


def _outcome(job: Work, tell: Callable[[Any], None]) -> Any:
    try:
        return job.run(tell)
    except Exception as error:
        return Raised.by(error)


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
