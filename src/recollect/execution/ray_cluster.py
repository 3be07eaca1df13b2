"""Connection to a Ray cluster, or to one started on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recollect.errors import FatalError, UserError, to_install

LOOK_SECONDS = 1.0
"""Seconds between queries of the nodes."""
HEAD_SECONDS = 20.0
"""Seconds after which an unreachable head is an error; Ray itself ends this process after 60."""
PAUSE_SECONDS = 10.0
"""Seconds before a second attempt to start Ray."""
OBJECT_STORE_BYTES = 2**27
"""Object store of a cluster started here; jobs send little data."""
STARTED_HERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # makes Ray listen on the loopback interface only; read when Ray is imported
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class Cluster:
    """A connection to a cluster.

    Args:
        address: address of its head; None: RAY_ADDRESS, or else a cluster started on this machine.
            An existing connection of this process is reused.
        cpus: CPUs of a cluster started here.
        gpus: GPUs of a cluster started here; None: all.

    Attributes:
        head: address of the head.
        is_lost: whether the head did not answer the last time.
    """

    def __init__(self, address: str | None, cpus: int, gpus: int | None) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._cpus, self._gpus = cpus, gpus
        self._folder: Path | None = None
        self._connected = self.is_lost = False
        self._looked = self._reached = 0.0
        self._nodes: list[dict[str, Any]] = []

    def __enter__(self) -> Cluster:
        if not _is_connected():
            self._connect()
            self._printing = _mute()
            self._connected = True
        self.head = str(_ray().get_runtime_context().gcs_address)
        self._reached = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        if self._connected:
            _ray().shutdown()
            _unmute(self._printing)
        if self._folder is not None:
            _remove(self._folder)

    def check(self) -> None:
        """Check that the cluster answers, and update the list of nodes.

        Raises:
            FatalError: if its head has been unreachable for `HEAD_SECONDS`.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self.answers():
            self._nodes = [node for node in _ray().nodes() if node["Alive"]]
        elif now - self._reached > HEAD_SECONDS:
            raise FatalError(
                f"the head of the Ray cluster at {self.head} does not answer any more. Finished"
                " trials are stored: start the cluster and run the same command again to continue"
            )

    def answers(self) -> bool:
        """Whether the head can be reached. Checked first because Ray's own calls would block."""
        self.is_lost = not _answers(self.head)
        if not self.is_lost:
            self._reached = time.monotonic()
        return not self.is_lost

    def has(self, node: str) -> bool:
        """Whether a node is known to be alive."""
        self._looked = 0.0
        self.check()
        return not self.is_lost and any(each["NodeID"] == node for each in self._nodes)

    def room(self, gpus: float) -> int:
        """Number of seats (one CPU and `gpus` GPUs each) on all nodes; 0 while the head is
        unreachable."""
        self.check()
        if self.is_lost:
            return 0
        resources = [node["Resources"] for node in self._nodes]
        return sum(
            min(int(each.get("CPU", 0)), int(each.get("GPU", 0)) * int(1 / gpus + 1e-9))
            if gpus
            else int(each.get("CPU", 0))
            for each in resources
        )

    def _connect(self) -> None:
        if self._address.startswith("ray://"):
            raise UserError(
                f"{self._address} is a Ray client address: run the command on a machine of the"
                " cluster, with the address of the head, such as 10.0.0.1:6379"
            )
        if self._address == "local":
            self._start()
            return
        if self._address != "auto" and not _answers(
            self._address
        ):  # Ray itself would try for minutes
            raise UserError(
                f"no Ray cluster answers at {self._address}: expected the address of its head, as"
                " printed by `ray start --head`. To start Ray on this machine, leave out the"
                " address and unset RAY_ADDRESS"
            )
        try:
            _ray().init(address=self._address, log_to_driver=False, logging_level="error")
        except Exception as error:  # Ray raises many kinds
            raise UserError(
                f"cannot use the Ray cluster at {self._address}: {_reason(error)}; if it requires a"
                " token, set RAY_AUTH_MODE=token"
            ) from error

    def _start(self) -> None:
        """Start Ray on this machine; try twice, because the first start can exceed Ray's own time
        limits."""
        short = "/tmp" if Path("/tmp").is_dir() else None  # names of sockets must be short
        self._folder = Path(tempfile.mkdtemp(prefix="recollect-ray-", dir=short))
        with _environment(**STARTED_HERE):
            error = self._attempt()
            if error is not None:
                time.sleep(PAUSE_SECONDS)
                error = self._attempt()
        if error is not None:
            logs, self._folder = self._folder / "session_latest" / "logs", None
            raise UserError(
                f"Ray did not start on this machine in two attempts: {_reason(error)}. See {logs}"
                " (gcs_server.out, raylet.out). The machine may be too busy: try again, or use"
                " --on processes, which does not need Ray"
            ) from error

    def _attempt(self) -> Exception | None:
        ray = _ray()
        try:
            ray.init(
                address="local",
                num_cpus=self._cpus,
                num_gpus=self._gpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                _temp_dir=str(self._folder),
            )
        except Exception as error:  # Ray raises many kinds
            ray.shutdown()
            return error
        return None


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError(f"running on Ray needs Ray: {to_install('ray')}") from None
    return ray


def _is_connected() -> bool:
    return "ray" in sys.modules and bool(_ray().is_initialized())


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except (OSError, ValueError):  # nothing answers, or the port is not a number
        return False
    return True


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _mute() -> Any:
    """Stop Ray from printing to standard output, where tables go; the executor reports lost
    workers. Returns the replaced function."""
    from ray._private import worker

    printing = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_args, **_options: None
    return printing


def _unmute(printing: Any) -> None:
    from ray._private import worker

    worker.print_to_stdstream = printing


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _remove(folder: Path) -> None:
    """Remove Ray's files; its processes may still write for a moment after Ray has returned."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.2)
