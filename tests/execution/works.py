"""Work for worker processes that says in which process it ran."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recollect.execution.bundle import Report


@dataclass(frozen=True)
class Tells:
    """It reports its process, and whether that can take more work."""

    ends_worker: bool = False
    title: str = "work"

    def run(self, send: Callable[[Any], None]) -> Report:  # noqa: ARG002
        return Report(str(os.getpid()), ValueError(), ends_worker=self.ends_worker)
