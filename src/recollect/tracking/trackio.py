"""Trackio: one run per trial in the project `recollect`, grouped by study."""

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
    """Opens runs, on this machine or on the server named by TRACKIO_SPACE_ID or TRACKIO_SERVER_URL.

    Raises:
        UserError: if trackio is not installed, or is too old.
    """

    def __init__(self) -> None:
        package("trackio")
        _quieten()

    def __call__(self, trial: TrialRun) -> TrackioRun:
        """Open the run of a trial."""
        return TrackioRun(trial)


class TrackioRun:
    """A run; it is closed while its trial is stopped, because an open run keeps a thread.

    Attributes:
        last_step: as in `TrackerRun`.
    """

    def __init__(self, trial: TrialRun) -> None:
        self._trial = trial
        self._run: Any = self._open()
        self.last_step = max(self._run._next_step - 1, 0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As in `TrackerRun`."""
        self._log(step, values)

    def pause(self) -> None:
        """As in `TrackerRun`."""
        self.close()

    def end(self, status: EndStatus, step: int, values: Mapping[str, float]) -> None:
        """As in `TrackerRun`."""
        self._log(step, {**values, "status": status})
        self.close()

    def close(self) -> None:
        """As in `TrackerRun`."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _log(self, step: int, values: Mapping[str, float | str]) -> None:
        self._run = self._run or self._open()
        self._run.log(dict(values), step=step)

    def _open(self) -> Any:
        """Open the run in its own context, because trackio ends the run of the current one.

        Trackio identifies a run by its name.
        """
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
    """Replaces the module `warnings` inside trackio: only the first failure is shown, not one per
    run."""

    def __init__(self) -> None:
        self._has_warned = False

    def warn(self, message: str, *_: object, **__: object) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(message, stacklevel=2)


def _quieten() -> None:
    """Make trackio print nothing and warn only once.

    Standard output is for tables and cannot be redirected for one thread only.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "trackio":
            module.__dict__["print"] = lambda *_, **__: None
    package("trackio.utils").warnings = _Once()
