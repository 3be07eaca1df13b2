"""Arguments of another type: accepted if their meaning is plain, or refused in words."""

from pathlib import Path

import pytest
import torch
from quick import TASK, quick_study

import recollect as rc

STUDY = quick_study("attention")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("wrong") / "results.db"
    given = {"store": path, "workers": 0, "progress": False}
    rc.run(STUDY, device=torch.device("cpu"), **given)
    return path


def test_a_device_of_pytorch_is_a_device(store: Path):
    assert set(rc.results(STUDY, store=store).trials["status"]) == {"complete"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"workers": 1.5}, r"workers=1\.5: expected a whole number"),
        ({"workers": "2"}, "workers='2': expected a whole number"),
        ({"workers": True}, "workers=True: expected a whole number"),
        ({"population": 2.5}, r"population=2\.5: expected a whole number"),
        ({"device": 3}, "device=3: expected 'auto', 'cpu'"),
        ({"device": None}, "device=None: expected 'auto', 'cpu'"),
        ({"on": 3}, "3: expected the name of an executor, such as"),
    ],
)
def test_settings_of_a_run(tmp_path: Path, setting, message):
    with pytest.raises(rc.UserError, match=message):
        rc.run(STUDY, store=tmp_path / "results.db", progress=False, **setting)


def test_an_open_store_is_not_the_path_of_one(store: Path):
    with rc.Store(store) as opened:
        for read in (rc.run, rc.results):
            with pytest.raises(rc.UserError, match="expected the path of a store, such as"):
                read(STUDY, store=opened)


@pytest.mark.parametrize("study", [Path("quick"), None, 3])
def test_what_is_no_study(store: Path, study):
    frames = (rc.trials_frame, rc.cells_frame, rc.history_frame, rc.metrics_frame)
    for read in (lambda study: rc.results(study, store=store), *(_of(store, f) for f in frames)):
        with pytest.raises(rc.UserError, match="is not a study: expected its name, or the rc"):
            read(study)


def _of(store: Path, frame):
    return lambda study: frame(store, study)


def test_what_is_no_key_and_no_name():
    with pytest.raises(rc.UserError, match="None is not the key of a trial"):
        rc.load(None)
    with pytest.raises(rc.UserError, match="expected the name of a task, such as"):
        rc.task(type(TASK))
