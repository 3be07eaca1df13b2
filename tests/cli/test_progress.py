"""What a run says of its cells."""

import io

import pytest
from rich.console import Console
from tiny_study import tiny

from recollect.reports.progress import (
    LiveDisplay,
    LogDisplay,
    NotebookDisplay,
    Picture,
    display,
)
from recollect.studies.events import CellDone, TrialRaised, TrialRecorded, TrialStarted
from recollect.studies.runner import run_study
from recollect.studies.store import Store


@pytest.mark.parametrize(
    ("learnt", "said"),
    [
        (True, "tuned to 1e-2, validation accuracy 0.910"),
        (False, "not learnt in 4 steps at rates 1e-4 to 1e-1 (validation accuracy 0.910)"),
    ],
)
def test_a_cell_that_is_done(learnt, said):
    out = io.StringIO()
    cell = tiny(["attention"]).cells()[0]
    done = CellDone(cell, 1e-2, 0.91, learnt, 0, (1e-4, 1e-1), done=1, cells=2, failed=3)
    LogDisplay(Console(file=out, width=200)).show(done)
    assert f"{cell.label}: {said}, 3 trials failed (" in out.getvalue()


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> list:
    """Of a study of two cells that went well."""
    seen: list = []
    with Store(tmp_path_factory.mktemp("progress") / "s.db") as store:
        run_study(tiny(["attention"]), store, workers=0, device="cpu", on_event=seen.append)
    return seen


def drawn(picture: Picture) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(picture.drawn())
    return out.getvalue()


def test_the_picture_of_a_running_study(events):
    picture, seen = Picture(), []
    for event in events:
        said = picture.note(event)
        assert (said is not None) == isinstance(event, CellDone)
        seen.append((event, drawn(picture)))
    first = next(text for event, text in seen if isinstance(event, TrialRecorded))
    assert "0 of 2 cells, 0 trials" in first
    assert "d_model=8 n_layers=1  1e-3, seed 1  step 2 of 4  accuracy 0." in first
    assert "2 of 2 cells, 8 trials, about 0 s left" in seen[-1][1]
    assert "step" not in seen[-1][1], "nothing runs"


def test_a_trial_that_failed_is_said_and_leaves_the_picture(events):
    picture = Picture()
    started = next(event for event in events if isinstance(event, TrialStarted))
    picture.note(started)
    assert "seed 1" in drawn(picture)
    raised = TrialRaised(started.cell, started.request, "no memory\nat all", again=False)
    assert picture.note(raised) == f"{started.cell.label} at 1e-3, seed 1: failed: no memory"
    assert "seed 1" not in drawn(picture)


def test_what_is_shown_suits_the_place(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(display(Console(file=io.StringIO())), LogDisplay)
    assert isinstance(display(Console(file=io.StringIO(), force_terminal=True)), LiveDisplay)
    assert isinstance(display(Console(force_jupyter=True)), NotebookDisplay)


def test_the_live_picture_of_a_terminal_says_each_cell_once(events):
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system=None)
    with LiveDisplay(console) as live:
        for event in events:
            live.show(event)
    assert out.getvalue().count("not learnt in 4 steps") == 2
