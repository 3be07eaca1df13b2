"""Which process is which, and whether it still runs: its number alone may be given to another."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process among all that ever were.

    Attributes:
        host: the machine, its start-up, and the name space in which its processes are numbered.
        pid: the number.
        started: when the process started, as the system spells it.
    """

    host: str
    pid: int
    started: str

    def is_dead(self) -> bool:
        """Whether the process is known to have ended; of another machine's it is not known."""
        started = _started(self.pid)
        return self.host == _host() and (not started or started != self.started)


def identify(pid: int) -> ProcessId:
    """The process of this machine that has a number now."""
    return ProcessId(_host(), pid, _started(pid))


def _host() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux; elsewhere the name has to do
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str:
    """Empty if there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
        return "" if state == "Z" else fields[18]
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
