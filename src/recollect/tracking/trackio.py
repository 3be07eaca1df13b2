"""Trackio: a run for each trial in the project `recollect`, grouped by study."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from recollect.tracking.packages import package
from recollect.tracking.run import EndStatus, TrialRun

PROJECT = "recollect"


class Trackio:
    """Begins runs, on this machine or where TRACKIO_SPACE_ID or TRACKIO_SERVER_URL says.

    Raises:
        UserError: if trackio is not installed, or is too old.
    """

    def __init__(self) -> None:
        package("trackio")
        _quieten()

    def __call__(self, trial: TrialRun) -> TrackioRun:
        """The run of a trial."""
        return TrackioRun(trial)


class TrackioRun:
    """A run, which is closed while its trial is stopped, since an open one has a thread.

    Attributes:
        last_step: as in `Run`.
    """

    def __init__(self, trial: TrialRun) -> None:
        self._trial = trial
        self._run: Any = self._open()
        self.last_step = max(self._run._next_step - 1, 0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As in `Run`."""
        self._log(step, values)

    def pause(self) -> None:
        """As in `Run`."""
        self.close()

    def end(self, status: EndStatus, step: int, values: Mapping[str, float]) -> None:
        """As in `Run`."""
        self._log(step, {**values, "status": status})
        self.close()

    def close(self) -> None:
        """As in `Run`."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _log(self, step: int, values: Mapping[str, float | str]) -> None:
        self._run = self._run or self._open()
        self._run.log(dict(values), step=step)

    def _open(self) -> Any:
        """In a context of its own: trackio ends the run that it finds in the current one. It knows
        a run by its name."""
        trial = self._trial
        return copy_context().run(
            package("trackio").init,
            PROJECT,
            name=f"{trial.study}: {trial.name} {trial.key[:8]}",
            group=trial.study,
            config=dict(trial.config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )


class _Once:
    """Stands for the module `warnings` where trackio tells of its failures, which it does for each
    run: the first is enough."""

    def __init__(self) -> None:
        self._has_warned = False

    def warn(self, message: str, *_: object, **__: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(message, stacklevel=2)


def _quieten() -> None:
    """Have trackio print nothing, since standard output is for tables and cannot be turned off for
    one thread alone, and warn once."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "trackio":
            module.__dict__["print"] = lambda *_, **__: None
    package("trackio.utils").warnings = _Once()
