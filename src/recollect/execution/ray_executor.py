"""The executor "ray": actors on the nodes of a Ray cluster, each with one CPU or GPU.

Nodes that join are used; the jobs of a lost node continue on other nodes.
"""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recollect.errors import FatalError, UserError
from recollect.execution.bundle import Bundle, Bundles, Report
from recollect.execution.executor import Placement, register_executor
from recollect.execution.failure import Failure, NodeLost, Raised, TrialFailed, WorkerLost
from recollect.execution.job import Job, Outcome
from recollect.execution.places import POPULATION
from recollect.execution.ray_cluster import Cluster
from recollect.execution.ray_seat import Begun, Order, Seat
from recollect.execution.run_jobs import OnRecord
from recollect.execution.sent_sources import SentSources, pack
from recollect.execution.versions import versions
from recollect.execution.workers import THREAD_VARIABLES, usable_cores
from recollect.training.slot import FileSlot

MARK = "seen"
"""Name of a file by which a node checks whether it sees the folder of the artifacts."""
LATE_SECONDS = 15.0
"""Seconds after which a bundle whose seat cannot be placed on a node is given to an idle seat."""


@dataclass(eq=False)
class _Taken:
    """The state of a seat, in the process that runs the study.

    Attributes:
        actor: the Ray actor.
        bundle: the bundle that it runs; None: it is idle.
        stream: its messages.
        node: its node; None: it has not begun.
        since: when it was given the bundle.
    """

    actor: Any
    bundle: Bundle | None = None
    stream: Any = None
    node: str | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def waiting(self) -> float:
        """Seconds that its bundle has waited to begin; 0 if it has begun or there is none."""
        has_begun = self.bundle is None or self.node is not None
        return 0.0 if has_begun else time.monotonic() - self.since


@register_executor("ray")
class OnRay:
    """Runs jobs on a Ray cluster.

    Args:
        placement: `devices` is "cpu", "cuda", or "auto" (GPUs if the cluster has any). `workers` is
            the largest number of seats; 0: as many as fit. `population` 0 is the default.
            `options`: `address` of the cluster, and `gpus_per_job`, the fraction of a GPU that a
            seat gets.
        on_record: called at each validation.

    Raises:
        UserError: for an invalid option.
    """

    def __init__(self, placement: Placement, on_record: OnRecord) -> None:
        self._placement, self._on_record = placement, on_record
        options = {"address": "", "gpus_per_job": "1"} | dict(placement.options)
        self._share = _share(options.pop("gpus_per_job"))
        on_cpu = placement.devices == ("cpu",)
        cpus = placement.workers or usable_cores()
        self._cluster = Cluster(options.pop("address") or None, cpus, 0 if on_cpu else None)
        self._taken: list[_Taken] = []
        self._marks: set[Path] = set()
        self._packed: dict[frozenset[tuple[str, str]], SentSources] = {}

    def __enter__(self) -> OnRay:
        self._cluster.__enter__()
        (device,) = self._placement.devices
        has_gpus = device != "cpu" and self._cluster.room(self._share) > 0
        self._gpus = self._share if device == "cuda" or has_gpus else 0.0
        self._bundles = Bundles(
            self._placement.population or (POPULATION if self._gpus else 1), self._on_record
        )
        if self._room == 0:
            self.__exit__()
            raise UserError(
                f"the Ray cluster at {self._cluster.head} has no {'GPU' if self._gpus else 'CPU'}:"
                " add a node with one, or use another --device"
            )
        return self

    def __exit__(self, *error: object) -> None:
        import ray

        for taken in self._taken if not self._cluster.is_lost else ():
            ray.kill(taken.actor)
        self._taken = []
        for mark in self._marks:
            mark.unlink(missing_ok=True)
            _remove_if_empty(mark.parent)
            _remove_if_empty(mark.parent.parent)
        self._cluster.__exit__(*error)

    @property
    def _room(self) -> int:
        return self._placement.workers or self._cluster.room(self._gpus)

    @property
    def _idle(self) -> int:
        busy = sum(taken.bundle is not None for taken in self._taken)
        return max(0, self._room - busy)

    @property
    def free(self) -> int:
        """Number of jobs that can be submitted: a population for each idle seat."""
        return self._bundles.room(self._idle)

    def submit(self, job: Job) -> None:
        """Add a job.

        Raises:
            UserError: as in `Bundles.add`.
        """
        self._bundles.add(job)

    def wait(self, seconds: float) -> Iterator[Outcome]:
        """As `Executor.wait`.

        Raises:
            FatalError: if the head of the cluster does not answer.
            UserError: if the source of a class cannot be sent.
        """
        import ray

        self._cluster.check()
        if self._cluster.answers():
            self._move_late()
            for bundle in self._bundles.take(["cuda:0" if self._gpus else "cpu"] * self._idle):
                self._give(bundle, self._seat())
        busy = {taken.stream: taken for taken in self._taken if taken.bundle is not None}
        if busy:
            ray.wait([*busy], timeout=seconds)
            ready, _ = ray.wait([*busy], num_returns=len(busy), timeout=0)
            for stream in ready:
                self._receive(busy[stream])
        else:
            if self._room == 0 and not self._cluster.is_lost:
                warnings.warn(
                    "the Ray cluster has no nodes left: waiting for one to join", stacklevel=2
                )
            time.sleep(seconds)
        yield from self._bundles.ended()

    def _move_late(self) -> None:
        """Give bundles whose seats cannot be placed to idle seats; the cluster may have shrunk or
        be used by others."""
        limit = LATE_SECONDS if len(self._taken) <= self._room else 0.0
        late = [taken for taken in self._taken if taken.waiting > limit]
        idle = [taken for taken in self._taken if taken.bundle is None]
        for waiting, taken in zip(late, idle, strict=False):
            assert waiting.bundle is not None
            self._give_up(waiting)
            self._give(waiting.bundle, taken)

    def _give(self, bundle: Bundle, taken: _Taken) -> None:
        """Send a bundle to an idle seat."""
        (job, *_) = bundle.jobs.values()
        classes = {key: place for job in bundle.jobs.values() for key, place in job.classes.items()}
        order = Order(pickle.dumps(bundle), self._sources(classes), versions(), self._mark(job))
        taken.bundle, taken.node, taken.since = bundle, None, time.monotonic()
        taken.stream = taken.actor.run.options(num_returns="streaming").remote(order)

    def _seat(self) -> _Taken:
        """An idle seat, or a new one."""
        for taken in self._taken:
            if taken.bundle is None:
                return taken
        self._taken.append(_Taken(self._new_actor()))
        return self._taken[-1]

    def _new_actor(self) -> Any:
        import ray

        one_thread = {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
        options = {"num_gpus": self._gpus} if self._gpus else {"runtime_env": one_thread}
        actor = ray.remote(Seat).options(num_cpus=1, max_restarts=0, **options)
        return actor.remote(None if self._gpus else 1)

    def _receive(self, taken: _Taken) -> None:
        """Process the next message of a seat."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        bundle = taken.bundle
        assert bundle is not None
        try:
            message = ray.get(next(taken.stream))
        except StopIteration:
            self._bundles.fail(
                bundle, TrialFailed(f"{bundle.title}: the worker ended before the trial")
            )
            self._give_up(taken)
            return
        except RayTaskError as error:
            self._bundles.fail(bundle, _cannot_begin(error))
            self._give_up(taken)
            return
        except RayError as error:
            self._bundles.fail(bundle, self._loss(taken, bundle, error))
            self._give_up(taken)
            return
        if isinstance(message, Begun):
            taken.node = message.node
            if message.refused is not None:
                self._bundles.fail(bundle, FatalError(message.refused))
        elif isinstance(message, Raised):
            self._bundles.fail(bundle, message.reason(bundle.title))
        elif isinstance(message, Report):
            self._bundles.receive(bundle, message)
            if message.ends_worker:
                self._give_up(taken)
        if not bundle.jobs:
            taken.bundle = None

    def _loss(self, taken: _Taken, bundle: Bundle, error: Exception) -> Exception:
        """Reason why a seat was lost. If its process died on a live node, the trial may be the
        cause; otherwise the machines are."""
        from ray.exceptions import ActorDiedError

        if isinstance(error, ActorDiedError):
            if error.actor_init_failed:
                return _cannot_begin(error)
            if taken.node is not None and not error.preempted and self._cluster.has(taken.node):
                end = "died, usually because memory ran out: use a smaller batch"
                return WorkerLost(
                    f"the worker that trained {bundle.title} {end}", Failure(f"its worker {end}")
                )
        lost = "its node was lost"
        return NodeLost(f"{bundle.title}: {lost}", Failure(lost))

    def _give_up(self, taken: _Taken) -> None:
        import ray

        ray.kill(taken.actor)
        self._taken.remove(taken)

    def _sources(self, classes: dict[str, str]) -> SentSources:
        identity = frozenset(classes.items())
        if identity not in self._packed:
            self._packed[identity] = pack(classes)
        return self._packed[identity]

    def _mark(self, job: Job) -> str | None:
        """Create a file among a job's artifacts by which a node checks whether it sees the folder.
        It is removed with the checkpoint, even if this process is killed and another one
        continues."""
        slot = job.slot(MARK)
        if not isinstance(slot, FileSlot):
            return None
        slot.path.parent.mkdir(parents=True, exist_ok=True)
        slot.path.touch()
        self._marks.add(slot.path)
        return str(slot.path)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"gpus_per_job={text}: expected a fraction of a GPU, such as 0.5, or 1")
    return share


def _cannot_begin(error: Exception) -> FatalError:
    last = [line for line in str(error).splitlines() if line.strip()][-1]
    return FatalError(
        f"a worker could not begin on the Ray cluster: {last.strip()}; every node needs recollect"
        f" {versions()['recollect']}"
    )


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
