"""`rc.run`: what it shows while it runs, and how it ends."""

from pathlib import Path

import pytest
from quick import Raising, quick_study
from torch import Tensor

import recollect as rc


class Interrupting(Raising):
    """Ctrl-C is pressed while it is trained."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise KeyboardInterrupt


@pytest.fixture
def where(tmp_path: Path) -> dict:
    return {"store": tmp_path / "r.db", "workers": 0, "device": "cpu"}


def test_a_log_has_lines(where, capfd):
    rc.run(quick_study("attention"), **where)
    said = capfd.readouterr()
    first, *trials, last = said.err.splitlines()
    assert first == "0 of 1 cells, 0 trials: training in this process"
    assert len(trials) == 4
    assert trials[0].startswith("mqar-16x2-v64 attention d_model=8 n_layers=1 at 1e-3, seed 1: ")
    assert "not learnt in 4 steps" in last
    assert said.out == ""


def test_silence_can_be_asked_for(where, capfd):
    rc.run(quick_study("attention"), progress=False, **where)
    said = capfd.readouterr()
    assert said.out + said.err == ""


@pytest.mark.parametrize("progress", [True, False])
def test_what_was_finished_before_ctrl_c_is_stored(where, capfd, progress):
    study = quick_study(["attention", Interrupting])
    with pytest.raises(KeyboardInterrupt):
        rc.run(study, progress=progress, **where)
    said = "interrupted: finished trials are stored, and the same call resumes the study"
    assert (said in capfd.readouterr().err) is progress
    found = rc.results(study, store=where["store"])
    assert list(found.cells["finished"]) == [True, False]
    assert "not finished: 1 of 2 cells" in repr(found)


@pytest.mark.parametrize("given", ["demo", quick_study])
def test_what_is_no_study_is_refused(given, tmp_path: Path):
    with pytest.raises(rc.UserError, match=r"is not a study: expected an rc\.Study"):
        rc.run(given, store=tmp_path / "results.db")
    assert list(tmp_path.iterdir()) == []


def test_a_listener_that_is_no_function_is_refused_at_once(tmp_path: Path):
    with pytest.raises(rc.UserError, match="on_event=3: expected a function"):
        rc.run(quick_study("attention"), store=tmp_path / "results.db", on_event=3)
    assert list(tmp_path.iterdir()) == []


def test_parts_add_up_to_the_study(where, tmp_path: Path):
    study = quick_study()
    mixers = []
    for number in (1, 2):
        where["store"] = tmp_path / f"{number}.db"
        found = rc.run(study, part=(number, 2), progress=False, **where)
        mixers.append({*found.cells["mixer"]})
    assert mixers == [{"attention"}, {"base-conv"}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": (0, 2)}, "part='0/2': expected i/n"),
        ({"part": "1/2"}, r"part='1/2': expected \(i, n\)"),
        ({"address": "10.0.0.1:6379"}, "address=10.0.0.1:6379 requires on='ray'"),
        ({"gpus_per_job": 0.5, "on": "processes"}, "gpus_per_job=0.5 requires on='ray'"),
    ],
)
def test_wrong_places_are_refused_at_once(tmp_path: Path, options, message):
    with pytest.raises(rc.UserError, match=message):
        rc.run(quick_study("attention"), store=tmp_path / "results.db", **options)
    assert list(tmp_path.iterdir()) == []
