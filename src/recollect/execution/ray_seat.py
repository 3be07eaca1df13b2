"""What runs on a node of a Ray cluster: a process that runs bundles and tells how they go."""

from __future__ import annotations

import pickle
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from recollect.execution.bundle import Bundle
from recollect.execution.failure import Raised
from recollect.execution.sent_sources import SentSources, unpack
from recollect.execution.spawning import become_worker
from recollect.execution.versions import skew, versions

END = None
"""The last of the messages."""


@dataclass(frozen=True)
class Begun:
    """The first thing that a seat says of a bundle.

    Attributes:
        node: the node's identity in the cluster.
        refused: why it does not run the bundle; None: it does.
    """

    node: str
    refused: str | None


@dataclass(frozen=True)
class Order:
    """A bundle for a seat, which looks at the rest before it reads the bundle.

    Attributes:
        bundle: pickled.
        sources: of the user's classes in it.
        versions: of the machine that runs the study.
        mark: a file that a node sees if it sees the folder of the artifacts; None: they lie where a
            URL points to.
    """

    bundle: bytes
    sources: SentSources
    versions: Mapping[str, str]
    mark: str | None


class Seat:
    """An actor of Ray: a process on some node, with one CPU or a GPU.

    Args:
        threads: of its computations; None: as many as Ray gives it.
    """

    def __init__(self, threads: int | None) -> None:
        become_worker()
        self._threads = threads
        self._folder: Path | None = None

    def run(self, order: Order) -> Iterator[Any]:
        """Run a bundle; gives a `Begun`, and what `Bundle.run` tells, or a `Raised`."""
        import ray

        refused = _refusal(order)
        yield Begun(ray.get_runtime_context().get_node_id(), refused)
        if refused is not None:
            return
        messages: SimpleQueue[Any] = SimpleQueue()
        # in a thread of its own, since what it tells on the way has to be yielded here
        threading.Thread(target=self._work, args=(order, messages), daemon=True).start()
        while (message := messages.get()) is not END:
            yield message

    def _work(self, order: Order, messages: SimpleQueue[Any]) -> None:
        import torch

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            messages.put(self._bundle(order).run(messages.put))
        except Exception as error:
            messages.put(Raised.by(error))
        finally:
            messages.put(END)

    def _bundle(self, order: Order) -> Bundle:
        """What was ordered, with its classes as they were sent."""
        references = unpack(order.sources, self._sources())
        bundle: Bundle = pickle.loads(order.bundle)
        jobs = {key: replace(job, classes=references) for key, job in bundle.jobs.items()}
        return replace(bundle, jobs=jobs)

    def _sources(self) -> Path:
        """A folder of this process, in the folder that the cluster keeps on each node."""
        import ray

        if self._folder is None:
            context = ray.get_runtime_context()
            session = Path(context.get_temp_dir()) / context.get_session_name()
            self._folder = Path(tempfile.mkdtemp(prefix="recollect-", dir=session))
        return self._folder


def _refusal(order: Order) -> str | None:
    """Why this node cannot run a bundle, if it cannot."""
    node = f"the node {socket.gethostname()}"
    different = skew(versions(), order.versions)
    if different is not None:
        return f"{node} {different}: install the same on every node"
    if order.mark is not None and not Path(order.mark).exists():
        folder = Path(order.mark).parent.parent
        return (
            f"{node} does not see the folder {folder}, where checkpoints lie: put the store on"
            " a disk that all nodes share, or give --artifacts URL"
        )
    return None
