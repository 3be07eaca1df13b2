"""A Ray cluster: the one that was asked for, or one that is started on this machine."""

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

from recollect.errors import FatalError, UserError

LOOK_SECONDS = 1.0
"""How often the nodes are looked at."""
HEAD_SECONDS = 20.0
"""How long the head may be out of reach; Ray itself ends this process after 60 seconds."""
PAUSE_SECONDS = 10.0
"""Before a start of Ray is tried again."""
OBJECT_STORE_BYTES = 2**27
"""Of a cluster that is started here: what jobs send is small."""
STARTED_HERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # the way to have Ray listen on this machine's own interface alone, read as Ray is imported
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class Cluster:
    """A connection to a cluster.

    Args:
        address: of its head; None: what RAY_ADDRESS says, or else this machine. A connection that
            this process has already is used.
        cpus: of a cluster that is started here.
        gpus: of a cluster that is started here; None: all.
    """

    def __init__(self, address: str | None, cpus: int, gpus: int | None) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._cpus, self._gpus = cpus, gpus
        self._folder: Path | None = None
        self._connected = False
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
        """See that the cluster is there.

        Raises:
            FatalError: where its head has been out of reach for a while.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if _answers(self.head):  # without a head Ray's own calls would wait for it
            self._reached = now
            self._nodes = [node for node in _ray().nodes() if node["Alive"]]
        elif now - self._reached > HEAD_SECONDS:
            raise FatalError(
                f"the head of the Ray cluster at {self.head} has gone away: what was finished is"
                " stored; start the cluster again, and the same command goes on from there"
            )

    @property
    def is_lost(self) -> bool:
        """Whether its head did not answer when it was last looked at."""
        return self._reached < self._looked

    def has(self, node: str) -> bool:
        """Whether a node is alive."""
        self._looked = 0.0
        self.check()
        return any(each["NodeID"] == node for each in self._nodes)

    def room(self, gpus: float) -> int:
        """How many seats of one CPU, and so many GPUs if any, the nodes have."""
        self.check()
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
                f"{self._address} is the address of a Ray client: run the command on a machine of"
                " the cluster, with the address of the head, such as 10.0.0.1:6379"
            )
        if self._address == "local":
            self._start()
            return
        try:
            _ray().init(address=self._address, log_to_driver=False, logging_level="error")
        except Exception as error:  # Ray raises many kinds
            raise UserError(
                f"cannot use the Ray cluster at {self._address}: {_told(error)}"
            ) from error

    def _start(self) -> None:
        """Start Ray on this machine; a second time where the first was too slow for Ray's own
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
                f"Ray did not start on this machine in two attempts: {_told(error)}; look at"
                f" {logs} (gcs_server.out, raylet.out) and at how busy the machine is, and try again;"
                " --on processes needs no Ray"
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
        raise UserError("running on Ray needs Ray: pip install 'recollect[ray]'") from None
    return ray


def _is_connected() -> bool:
    return "ray" in sys.modules and bool(_ray().is_initialized())


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _mute() -> Any:
    """Have Ray print nothing on standard output, where tables go: what is lost is told by the
    executor. Returns what printed."""
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
    """Remove what Ray wrote; its processes may write a little longer than Ray waits for them."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.2)
