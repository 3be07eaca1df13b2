"""Worker processes of this machine, and their communication with this process."""

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

from recollect.errors import FatalError, show_warnings_plainly
from recollect.execution.failure import Failure, Raised, WorkerLost

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)

KILLED = getattr(signal, "SIGKILL", 9)
"""The signal of a process that was killed; Windows has no name for it."""

TERMINATION_SECONDS = 5.0
"""Seconds between asking a worker to end and killing it."""


def usable_cores() -> int:
    """Number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Work(Protocol):
    """Work for a worker process; it is pickled."""

    @property
    def title(self) -> str:
        """Name of the work in messages."""

    def run(self, send: Callable[[Any], None]) -> Any:
        """Do the work and return its result; reports on the way go to `send`."""


AnyWork = TypeVar("AnyWork", bound=Work)


@dataclass(frozen=True)
class _Report:
    """A worker's report on running work."""

    content: Any


class _Worker(Generic[AnyWork]):
    """A spawned process and the connection to it."""

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
    """A pool of worker processes, each started with its first job.

    Args:
        count: number of processes.
        on_report: called with each report of a running job.
        threads: threads of each process.
    """

    def __init__(
        self, count: int, on_report: Callable[[AnyWork, Any], None], threads: int = 1
    ) -> None:
        assert count > 0
        self._count = count
        self._on_report = on_report
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
        """Numbers of the workers without a job; started ones come first."""
        busy = {number for number, worker in self._workers.items() if worker.job is not None}
        return sorted({*range(self._count)} - busy, key=lambda n: (n not in self._workers, n))

    @property
    def free(self) -> int:
        """Number of workers without a job."""
        return len(self.idle)

    def submit(self, job: AnyWork, number: int | None = None) -> None:
        """Give a job to the worker with this number, or to any idle one."""
        number = self.idle[0] if number is None else number
        worker = self._workers.get(number)
        if worker is None:
            worker = self._workers[number] = _Worker(self._threads)
        assert worker.job is None
        worker.job = job
        with suppress(ConnectionError):  # `wait` reports a worker's death
            worker.connection.send(job)

    def wait(self, seconds: float) -> Iterator[tuple[AnyWork, Any]]:
        """Yield each job that has ended, with its result or an exception.

        The exception is a `TrialFailed` (a `WorkerLost` if the process died) or a `FatalError`. The
        other workers continue.

        Args:
            seconds: longest time to wait for the first message.
        """
        busy = {n: worker for n, worker in self._workers.items() if worker.job is not None}
        ready = {*wait([worker.connection for worker in busy.values()], seconds)}
        for number, worker in busy.items():
            if worker.connection in ready:
                yield from self._receive(number)

    def _receive(self, number: int) -> Iterator[tuple[AnyWork, Any]]:
        """Process the next message of a worker; yields the job and its outcome if it has ended."""
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
        elif isinstance(message, _Report):
            self._on_report(job, message.content)
        else:
            worker.job = None
            if getattr(message, "ends_worker", False):
                del self._workers[number]
                worker.end()
            yield job, message.reason(job.title) if isinstance(message, Raised) else message


def _death(worker: _Worker[AnyWork], job: AnyWork) -> Exception:
    worker.process.join(TERMINATION_SECONDS)
    code = worker.process.exitcode
    if not worker.has_started and code is not None and code >= 0:
        return FatalError(
            f"a worker process ended with code {code} before it could begin; in a script, put the"
            ' code that starts a study below `if __name__ == "__main__":`'
        )
    if code == -KILLED:
        end = "was killed, usually because memory ran out: use fewer workers or a smaller batch"
    else:
        end = f"died with code {code}"
    return WorkerLost(f"the worker that trained {job.title} {end}", Failure(f"its worker {end}"))


def _work(connection: Connection, threads: int) -> None:
    """Main function of a worker process."""
    import torch

    torch.set_num_threads(threads)
    show_warnings_plainly()
    threading.Thread(target=die_with_parent, daemon=True).start()
    with suppress(ConnectionError):  # the parent process has ended
        _serve(connection)


def _serve(connection: Connection) -> None:
    """Do the received work until the connection is closed."""
    connection.send(None)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        except Exception as error:  # the work cannot be unpickled here
            connection.send(Raised.by(error))
        else:
            connection.send(_outcome(job, lambda report: connection.send(_Report(report))))


def _outcome(job: Work, send: Callable[[Any], None]) -> Any:
    try:
        return job.run(send)
    except Exception as error:
        return Raised.by(error)


def die_with_parent() -> None:
    """End this process when the process that spawned it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def inheriting(threads: int) -> Iterator[None]:
    """Context in which started processes inherit `threads` threads for every library and ignore
    Ctrl-C. The terminal sends Ctrl-C to all processes, and the parent handles it."""
    saved = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    blocks = hasattr(signal, "pthread_sigmask")  # not on Windows
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blocks else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
