"""Seats: actors on the nodes of a Ray cluster that run bundles and report on them."""

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
"""Marks the end of the messages."""


@dataclass(frozen=True)
class Begun:
    """A seat's first message on a bundle.

    Attributes:
        node: identity of its node in the cluster.
        refused: why it does not run the bundle; None: it runs it.
    """

    node: str
    refused: str | None


@dataclass(frozen=True)
class Order:
    """A bundle for a seat, with what the seat checks before it unpickles the bundle.

    Attributes:
        bundle: the pickled bundle.
        sources: sources of the user's classes in it.
        versions: versions on the machine that runs the study.
        mark: a file in the folder of the artifacts, which the node must see; None: the artifacts
            are at a URL.
    """

    bundle: bytes
    sources: SentSources
    versions: Mapping[str, str]
    mark: str | None


class Seat:
    """A Ray actor: a process on some node with one CPU or GPU.

    Args:
        threads: threads of its computations; None: as set by Ray.
    """

    def __init__(self, threads: int | None) -> None:
        become_worker()
        self._threads = threads
        self._folder: Path | None = None

    def run(self, order: Order) -> Iterator[Any]:
        """Run a bundle; yields a `Begun`, then the reports of `Bundle.run` or a `Raised`."""
        import ray

        refused = _refusal(order)
        yield Begun(ray.get_runtime_context().get_node_id(), refused)
        if refused is not None:
            return
        messages: SimpleQueue[Any] = SimpleQueue()
        # in its own thread, because its reports have to be yielded here
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
        """The ordered bundle, with its classes loaded from the sent sources."""
        references = unpack(order.sources, self._sources())
        bundle: Bundle = pickle.loads(order.bundle)
        jobs = {key: replace(job, classes=references) for key, job in bundle.jobs.items()}
        return replace(bundle, jobs=jobs)

    def _sources(self) -> Path:
        """Folder of this process, in the cluster's session folder on this node."""
        import ray

        if self._folder is None:
            context = ray.get_runtime_context()
            session = Path(context.get_temp_dir()) / context.get_session_name()
            self._folder = Path(tempfile.mkdtemp(prefix="recollect-", dir=session))
        return self._folder


def _refusal(order: Order) -> str | None:
    """Reason why this node cannot run a bundle; None if it can."""
    node = f"the node {socket.gethostname()}"
    different = skew(versions(), order.versions)
    if different is not None:
        return f"{node} {different}: install the same versions on every node"
    if order.mark is not None and not Path(order.mark).exists():
        folder = Path(order.mark).parent.parent
        return (
            f"{node} does not see the folder {folder} with the checkpoints: put the store on a"
            " disk that all nodes share, or give --artifacts URL"
        )
    return None
