"""Weights & Biases: one run per trial in the project `recollect`, grouped by study."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from errno import ENOSPC
from os import environ, strerror
from shutil import disk_usage
from typing import Any

from recollect.config import digest
from recollect.errors import UserError
from recollect.tracking.packages import package
from recollect.tracking.run import EndStatus, TrialRun

PROJECT = "recollect"
SPARE = 2**20
"""Bytes that must be free on the disk."""
SETTINGS = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_save_requirements": False,
    "reinit": "create_new",
}
"""Allow several runs at once, and send only logged values: no program output, no code, no list of
packages, no host name."""


class WeightsAndBiases:
    """Opens runs, on the server or, with WANDB_MODE=offline, in the folder `wandb`.

    Raises:
        UserError: if wandb is not installed, or has no key for the server.
    """

    def __init__(self) -> None:
        self._wandb = package("wandb")
        logging.getLogger("wandb").setLevel(logging.WARNING)  # a full disk would flood the log
        mode = self._wandb.setup().settings.mode
        if mode not in ("offline", "disabled") and not self._wandb.login(prompt=False):
            raise UserError(
                "wandb has no key for its server: run `wandb login`, or set WANDB_MODE=offline to"
                " keep the runs on this machine"
            )

    def __call__(self, trial: TrialRun) -> WeightsAndBiasesRun:
        """Open the run of a trial; its id is the same in every process, so it can be resumed."""
        run = self._wandb.init(
            project=environ.get("WANDB_PROJECT", PROJECT),
            group=trial.study,
            name=trial.name,
            id=digest({"study": trial.study, "trial": trial.key}),
            config=dict(trial.config),
            resume="allow",
            settings=self._wandb.Settings(**SETTINGS),
        )
        return WeightsAndBiasesRun(run)


class WeightsAndBiasesRun:
    """A run; it stays open while its trial is stopped, because an offline run cannot be resumed.

    Attributes:
        last_step: as in `TrackerRun`.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self.last_step = max(run.step - 1, 0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As in `TrackerRun`."""
        self._check_disk()
        self._run.log(dict(values), step=step, commit=True)

    def pause(self) -> None:
        """As in `TrackerRun`."""

    def end(self, status: EndStatus, step: int, values: Mapping[str, float]) -> None:  # noqa: ARG002
        """As in `TrackerRun`."""
        self._run.summary.update({**values, "status": status})
        self._run.finish(exit_code=1 if status == "failed" else 0)
        self._check_disk()

    def close(self) -> None:
        """As in `TrackerRun`."""
        self._run.finish()
        self._check_disk()

    def _check_disk(self) -> None:
        """Raise if the disk is full: wandb's own process would fail silently."""
        if disk_usage(self._run.dir).free < SPARE:
            raise OSError(ENOSPC, strerror(ENOSPC), self._run.dir)
