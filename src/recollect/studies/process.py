"""Identity of processes, and whether they still run; a process number alone may be reused."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """The unique identity of a process.

    Attributes:
        host: the machine, its boot, and the name space of process numbers.
        pid: the process number.
        started: when the process started, as text of the system.
    """

    host: str
    pid: int
    started: str

    def is_dead(self) -> bool:
        """Whether the process has certainly ended; False for processes of other machines."""
        started = _started(self.pid)
        return self.host == _host() and (not started or started != self.started)


def identify(pid: int) -> ProcessId:
    """The process with this number on this machine."""
    return ProcessId(_host(), pid, _started(pid))


def _host() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux only; elsewhere the host name must suffice
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str:
    """Start time of a process as text; empty if there is no such process."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        # the name before the last bracket may contain any characters
        state, *fields = stat.rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    place = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, env=place)
    except FileNotFoundError:  # without `ps`, leases end by their heartbeats alone
        return "unknown"
    return found.stdout.strip()
