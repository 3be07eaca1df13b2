"""Artifact stores: a folder, and places that an URL names. A file is whole or not there."""

import builtins
from pathlib import Path

import pandas as pd
import pytest
from test_executors import RACE, STUDY

import forked
from recollect.errors import FatalError, UserError
from recollect.execution.artifacts import (
    CHECKPOINT,
    OBSERVATIONS,
    WEIGHTS,
    open_artifacts,
    try_writing,
)
from recollect.studies.events import TrialEnded, TrialRecorded
from recollect.studies.grid import models_grid
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.store import Store

pytestmark = pytest.mark.slow

ADDRESSES = ["{folder}", "file://{folder}", "memory://{folder}"]


@pytest.fixture(params=ADDRESSES, ids=["folder", "file", "memory"])
def artifacts(request, tmp_path: Path):
    return open_artifacts(request.param.format(folder=tmp_path / "artifacts"))


def write(slot, text: str) -> None:
    with slot.writing() as path:
        path.write_text(text)


def write_half(slot) -> None:
    with slot.writing() as path:
        path.write_text("ha")
        raise KeyboardInterrupt


def read(slot) -> str:
    with slot.reading() as path:
        return path.read_text()


def test_what_is_written_is_read_by_whoever_has_the_address(artifacts):
    assert not artifacts.slot("k", WEIGHTS).exists()
    write(artifacts.slot("k", WEIGHTS), "first")
    write(artifacts.slot("k", WEIGHTS), "second")
    again = open_artifacts(artifacts.address)
    assert read(again.slot("k", WEIGHTS)) == "second"
    assert not again.slot("other", WEIGHTS).exists()
    again.slot("k", WEIGHTS).remove()
    again.slot("k", WEIGHTS).remove()
    assert not artifacts.slot("k", WEIGHTS).exists()


def test_a_file_that_is_not_written_to_its_end_takes_no_place(artifacts):
    write(artifacts.slot("k", WEIGHTS), "whole")
    for name in (WEIGHTS, CHECKPOINT):
        with pytest.raises(KeyboardInterrupt):
            write_half(artifacts.slot("k", name))
    assert read(artifacts.slot("k", WEIGHTS)) == "whole"
    assert not artifacts.slot("k", CHECKPOINT).exists()


def test_sweeping_leaves_what_is_kept(artifacts):
    artifacts.sweep("k")
    for name in (CHECKPOINT, WEIGHTS, OBSERVATIONS):
        write(artifacts.slot("k", name), name)
        write(artifacts.slot("other", name), name)
    artifacts.sweep("k")
    there = [artifacts.slot("k", name).exists() for name in (CHECKPOINT, WEIGHTS, OBSERVATIONS)]
    assert there == [False, True, True]
    artifacts.sweep("k", ())
    assert not artifacts.slot("k", WEIGHTS).exists()
    assert artifacts.slot("other", CHECKPOINT).exists()


def test_a_file_that_is_not_there_is_a_user_error():
    with (
        pytest.raises(UserError, match=r"cannot read memory://nowhere/k/weights"),
        open_artifacts("memory://nowhere").slot("k", WEIGHTS).reading(),
    ):
        pass


@pytest.mark.parametrize("address", ["{file}/artifacts", "file://{file}/artifacts"])
def test_a_store_that_cannot_be_written_is_one_clear_error(tmp_path: Path, address):
    (tmp_path / "file").touch()
    slot = open_artifacts(address.format(file=tmp_path / "file")).slot("k", WEIGHTS)
    refused = r"cannot (write|create the folder) .*artifacts.*Not a directory"
    with pytest.raises(FatalError, match=refused):
        write(slot, "text")


def test_urls_need_an_extra_that_is_named(monkeypatch):
    def without(name, *words):
        if name.startswith("fsspec"):
            raise ImportError(name)
        return imported(name, *words)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install '\.\[cluster\]'"):
        open_artifacts("memory://a")


def test_an_url_of_an_unknown_kind_is_a_user_error():
    with pytest.raises(UserError, match="cannot use the artifacts at nonsense://a"):
        open_artifacts("nonsense://a")
    with pytest.raises(UserError, match="'s3:/bucket/a': expected a folder, or a URL"):
        open_artifacts("s3:/bucket/a")


def test_a_trial_write_leaves_nothing(artifacts, tmp_path: Path):
    try_writing(artifacts)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    with pytest.raises(UserError, match=r"cannot write to file:///proc/none: cannot write"):
        try_writing(open_artifacts("file:///proc/none"))


# A study


def run(store: Store, artifacts: str | None, *, workers: int = 0, **options) -> list:
    events: list = []
    run_study(
        STUDY.replace(models=STUDY.models[:1]),
        store,
        workers=workers,
        device="cpu",
        artifacts=artifacts,
        on_event=events.append,
        **options,
    )
    return events


def test_a_study_goes_on_from_checkpoints_elsewhere_and_brings_its_weights(tmp_path: Path):
    address = f"memory://{tmp_path}"

    def interrupt(event) -> None:
        if isinstance(event, TrialEnded):
            raise KeyboardInterrupt

    with Store(tmp_path / "results.db") as store:
        with pytest.raises(KeyboardInterrupt):
            run_study(STUDY, store, workers=0, device="cpu", artifacts=address, on_event=interrupt)
        (trial,) = store.rows("SELECT key, learning_rate, seed FROM trials")
        stopped = trial["key"]
        assert open_artifacts(address).slot(stopped, CHECKPOINT).exists()
        assert not store.folder.exists()
        events = run(store, address, keep_weights=True)
        steps = [
            e.record.step
            for e in events
            if isinstance(e, TrialRecorded)
            and (e.request.learning_rate, e.request.seed) == (trial["learning_rate"], trial["seed"])
        ]
        complete = trials_frame(store, "small").query("status == 'complete'")["key"]
        assert all(store.weights_path(key).exists() for key in complete)
        assert not open_artifacts(address).slot(stopped, CHECKPOINT).exists()
        assert steps == [6, 8]


def test_fresh_leaves_nothing_of_a_trial_elsewhere(tmp_path: Path):
    address = f"memory://{tmp_path}"
    with Store(tmp_path / "results.db") as store:
        run(store, address, keep_weights=True)
        (key, *_) = (row["key"] for row in store.rows("SELECT key FROM trials"))
        write(open_artifacts(address).slot(key, CHECKPOINT), "of another run")
        run(store, address, fresh=True)
        assert not open_artifacts(address).slot(key, WEIGHTS).exists()
        assert not store.weights_path(key).exists()


def test_workers_share_an_url_but_not_the_memory_of_one_process(tmp_path: Path):
    with Store(tmp_path / "results.db") as store:
        with pytest.raises(UserError, match="memory of this process"):
            run(store, "memory://a", workers=1)
        run(store, f"file://{tmp_path / 'elsewhere'}", workers=1, keep_weights=True)
        assert cells_frame(store, "small")["finished"].all()
        complete = trials_frame(store, "small").query("status == 'complete'")["key"]
        assert all(store.weights_path(key).exists() for key in complete)


FULL = """
import resource, sys
sys.path.insert(0, {tests!r})
from recollect.errors import FatalError
from recollect.studies.runner import run_study
from recollect.studies.store import Store
from test_artifacts import LARGE

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    with Store(sys.argv[1]) as store:
        try:
            run_study(LARGE, store, workers=1, device="cpu")
        except FatalError as error:
            print(error)
"""
LARGE = STUDY.replace(
    name="large",
    models=models_grid(["attention"], d_model=[128], n_layers=[1]),
    seeds=(1,),
    search=RACE.replace(high=1e-2),
)
"""Its checkpoints are larger than the disk of the test, and its results are not."""


def test_a_full_disk_is_said_once_and_loses_nothing(tmp_path: Path):
    path = tmp_path / "results.db"
    script = tmp_path / "full.py"
    script.write_text(FULL.format(tests=str(Path(__file__).parent)))
    done = forked.run(script, path, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert "cannot write" in line
    assert CHECKPOINT in line
    assert "File too large" in line
    with Store(path) as store, Store(tmp_path / "whole.db") as whole:
        assert store.rows("SELECT * FROM failures") == store.rows("SELECT * FROM leases") == []
        for each in (store, whole):
            run_study(LARGE, each, workers=0, device="cpu")
        pd.testing.assert_frame_equal(
            *(
                cells_frame(each, "large").drop(columns=["seconds", "device"], errors="ignore")
                for each in (store, whole)
            )
        )


def test_a_folder_that_the_user_named_stays(tmp_path: Path):
    """Made again, it would have other permissions."""
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o770)
    try_writing(open_artifacts(str(folder)))
    assert folder.is_dir()
    assert not any(folder.iterdir())
