"""What trackers have on disk, read back."""

import json
import os
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Read:
    """A run: its config, the points of each curve in the order of logging, its last values."""

    config: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    final: dict[str, Any] = field(default_factory=dict)

    def steps(self, curve: str) -> list[int]:
        return [step for step, _ in self.curves[curve]]


def from_tensorboard(folder: Path, study: str) -> list[Read]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    runs = []
    for path in sorted((folder / study).iterdir()):
        events = EventAccumulator(str(path)).Reload()
        run = Read()
        for tag in events.Tags()["scalars"]:
            run.curves[tag] = [(each.step, each.value) for each in events.Scalars(tag)]
            run.final[tag] = run.curves[tag][-1][1]
        start = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG)
        session = metadata.parse_session_start_info_plugin_data(start.plugin_data.content)
        for name, value in session.hparams.items():
            run.config[name] = getattr(value, value.WhichOneof("kind"))
        if metadata.SESSION_END_INFO_TAG in events.PluginTagToContent(metadata.PLUGIN_NAME):
            end = events.SummaryMetadata(metadata.SESSION_END_INFO_TAG)
            status = metadata.parse_session_end_info_plugin_data(end.plugin_data.content).status
            run.final["status"] = {1: "complete", 2: "failed"}[status]
        runs.append(run)
    return runs


def from_wandb(study: str) -> list[Read]:
    """The last folder of each run."""
    runs = {}
    for path in sorted(
        Path(os.environ["WANDB_DIR"]).glob("wandb/offline-run-*/*.wandb"), key=_made
    ):
        run, belongs = Read(), False
        for row in _all_records(path):
            kind = row.WhichOneof("record_type")
            if kind == "run":
                belongs = row.run.run_group == study
                for item in row.run.config.update:
                    run.config[_key(item)] = json.loads(item.value_json)
            elif kind == "history":
                values = {_key(item): json.loads(item.value_json) for item in row.history.item}
                for name, value in values.items():
                    run.curves[name].append((values["_step"], value))
            elif kind == "summary":
                for item in row.summary.update:
                    run.final[_key(item)] = json.loads(item.value_json)
        if belongs:
            runs[path.name] = run
    return list(runs.values())


def from_trackio(study: str) -> list[Read]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    runs = []
    for found in trackio.Api().runs("recollect"):
        if not found.config or found.config["_Group"] != study:
            continue
        run = Read(config=found.config)
        for row in SQLiteStorage.get_logs("recollect", found.name, run_id=found.id):
            for name, value in row.items():
                run.curves[name].append((row["step"], value))
                run.final[name] = value
        runs.append(run)
    return runs


def _made(path: Path) -> int:
    return path.stat().st_ctime_ns


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _all_records(path: Path) -> list[Any]:
    """Those of a file that wandb's own process may still be writing."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        records = list(_records(path))
        if records and records[-1].WhichOneof("record_type") == "exit":
            return records
        time.sleep(0.01)
    raise AssertionError(f"{path} has no end")


def _records(path: Path) -> Iterator[Any]:
    """The records of a file of wandb: a log in blocks of 32 KiB, as LevelDB has it."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""
