"""What takes jobs and gives outcomes, wherever these run; a new way to run them registers here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from recollect.execution.job import Job, OnRecord, Outcome
from recollect.registry import Registry


@dataclass(frozen=True)
class Placement:
    """Where jobs run.

    Attributes:
        devices: "cpu", or GPUs such as "cuda:0"; the processes take them in turn.
        workers: processes that train; 0: this one.
        population: how many trials of one shape are trained as one program at most.
        options: further words of one executor.
    """

    devices: tuple[str, ...]
    workers: int
    population: int
    options: Mapping[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """What runs jobs. Leaving its context ends those that run."""

    @property
    def free(self) -> int:
        """How many more jobs it takes at the moment."""

    def submit(self, job: Job) -> None:
        """Take a job; there must be room for it."""

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """The jobs that have ended since the last call; waits for news at most so long.

        Raises:
            FatalError: where those that follow would fare no better.
        """

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...


MakeExecutor = Callable[[Placement, OnRecord], Executor]

EXECUTORS: Registry[MakeExecutor] = Registry("executor", "recollect.execution")


def register_executor(name: str) -> Callable[[MakeExecutor], MakeExecutor]:
    """Let studies be run by what a function makes, under `name`.

        @rc.register_executor("mine")
        def mine(placement: Placement, on_record: OnRecord) -> Executor: ...

    `run_jobs` runs jobs in the process that calls it; `on_record` is called in the thread that
    called `wait`.
    """

    def register(make: MakeExecutor) -> MakeExecutor:
        EXECUTORS.add(name, make)
        return make

    return register
