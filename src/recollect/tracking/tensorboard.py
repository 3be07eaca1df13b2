"""TensorBoard: one folder per trial, inside one folder per study.

The file is closed after each point, because a study may have hundreds of runs at once, and so that
TensorBoard shows each point immediately.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from recollect.tracking.packages import package
from recollect.tracking.run import EndStatus, TrialRun, Value

CURVE = "train/loss"
"""The curve whose last step says how far a run has come."""
LONGEST = 180
"""Most characters in a folder's name, below the limit of file systems."""


class TensorBoard:
    """Opens runs.

    Args:
        folder: the parent of the studies' folders.

    Raises:
        UserError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        package("tensorboard")
        self._folder = folder

    def __call__(self, trial: TrialRun) -> TensorBoardRun:
        """Open the run of a trial."""
        name = f"{_as_name(trial.name)[:LONGEST]} {trial.key[:8]}"
        return TensorBoardRun(self._folder / _as_name(trial.study)[:LONGEST] / name, trial)


class TensorBoardRun:
    """The folder of a trial; each process adds a file to it.

    Attributes:
        path: the file of this process.
        last_step: as in `TrackerRun`.
    """

    def __init__(self, folder: Path, trial: TrialRun) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.last_step = _last_step(folder)
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.recollect"
        self._config = trial.config

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As in `TrackerRun`."""
        self._append(step, _scalars(values))

    def pause(self) -> None:
        """As in `TrackerRun`."""

    def end(self, status: EndStatus, step: int, values: Mapping[str, float]) -> None:
        """As in `TrackerRun`."""
        self._append(step, _scalars(values), _session_end(status))

    def close(self) -> None:
        """As in `TrackerRun`."""

    def _append(self, step: int, *summaries: object) -> None:
        """Append summaries; a new file starts with a header and the config."""
        writer = package("tensorboard.summary.writer.record_writer").RecordWriter
        event = package("tensorboard.compat.proto.event_pb2").Event
        is_new = not self.path.exists()
        at = time.time()
        with self.path.open("ab") as file:
            records = writer(file)
            if is_new:
                records.write(event(wall_time=at, file_version="brain.Event:2").SerializeToString())
                summaries = (_session_start(self._config), *summaries)
            for summary in summaries:
                line = event(wall_time=at, step=step, summary=summary)
                records.write(line.SerializeToString())


def _last_step(folder: Path) -> int:
    """The last step of the curves in a folder."""
    load = package("tensorboard.backend.event_processing.event_file_loader").EventFileLoader
    return max(
        (
            event.step
            for path in folder.glob("events.out.tfevents.*")
            for event in load(str(path)).Load()
            if any(value.tag == CURVE for value in event.summary.value)
        ),
        default=0,
    )


def _scalars(values: Mapping[str, float]) -> object:
    summary = package("tensorboard.compat.proto.summary_pb2").Summary
    return summary(
        value=[summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    )


def _session_start(config: Mapping[str, Value]) -> object:
    """The config, for the tab of hyperparameters."""
    session = package("tensorboard.plugins.hparams.plugin_data_pb2").SessionStartInfo()
    for name, value in config.items():
        if isinstance(value, bool):
            session.hparams[name].bool_value = value
        elif isinstance(value, str):
            session.hparams[name].string_value = value
        else:
            session.hparams[name].number_value = value
    return _hparams(session_start_info=session)


def _session_end(status: EndStatus) -> object:
    proto = package("tensorboard.plugins.hparams.api_pb2")
    ending = proto.STATUS_SUCCESS if status == "complete" else proto.STATUS_FAILURE
    end = package("tensorboard.plugins.hparams.plugin_data_pb2").SessionEndInfo(status=ending)
    return _hparams(session_end_info=end)


def _hparams(**info: object) -> object:
    metadata = package("tensorboard.plugins.hparams.metadata")
    data = package("tensorboard.plugins.hparams.plugin_data_pb2").HParamsPluginData(**info)
    summary = package("tensorboard.compat.proto.summary_pb2").Summary
    tag = (
        metadata.SESSION_START_INFO_TAG
        if "session_start_info" in info
        else metadata.SESSION_END_INFO_TAG
    )
    value = summary.Value(
        tag=tag,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary(value=[value])


def _as_name(text: str) -> str:
    """Turn a text into a valid folder name on any system."""
    return re.sub(r"[^\w .,=+()-]", "_", text).strip(" .")
