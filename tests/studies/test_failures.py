"""Trials that raise, and processes that die: outcomes that are stored, while the study goes on."""

import math
from pathlib import Path

import pytest
from small import (
    Exiting,
    ExitingBackwards,
    Fragile,
    Killed,
    LosesGpu,
    Plain,
    Raising,
    Refusing,
    run_here,
    small_study,
)

from recollect.api.run import load, run
from recollect.errors import FatalError, UserError
from recollect.execution.failure import MESSAGE_CHARACTERS, TRACEBACK_CHARACTERS, Failure
from recollect.files import make_folder
from recollect.mixers.catalogue import mixer
from recollect.papers.measured import NotMeasured
from recollect.papers.results import PaperResults
from recollect.reports import tables
from recollect.studies.events import CellDone, TrialRaised, TrialStarted
from recollect.studies.narrow import narrow
from recollect.studies.results import cells_frame, failures_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store

pytestmark = pytest.mark.slow

HIGH = FixedGrid(rates=(1e-3, 1e-1))


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        yield opened


def of_type(events: list, kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore:.*one (model )?at a time")
@pytest.mark.parametrize("where", [{"workers": 0}, {"workers": 0, "population": 4}, {"workers": 1}])
def test_a_study_goes_on_where_trials_raise(store: Store, where):
    events: list = []
    study = small_study([Raising, "attention"])
    failed = run_study(study, store, device="cpu", on_event=events.append, **where)
    assert failed == 4
    raised = of_type(events, TrialRaised)
    assert [event.message for event in raised] == ["ZeroDivisionError: a bug of the mixer"] * 4
    assert not any(event.again for event in raised)
    trials = trials_frame(store, "small")
    assert list(trials["status"]) == ["failed"] * 4 + ["complete"] * 4
    assert trials["valid_accuracy"].isna().tolist() == [True] * 4 + [False] * 4
    assert trials["valid_loss"].isna().tolist() == [True] * 4 + [False] * 4
    assert list(trials["failure"].dropna()) == ["ZeroDivisionError: a bug of the mixer"] * 4
    failures = failures_frame(store, "small")
    assert failures["traceback"].str.contains("in forward\n").all()
    assert failures["traceback"].str.endswith("ZeroDivisionError: a bug of the mixer").all()
    assert store.rows("SELECT * FROM leases") == []


@pytest.mark.filterwarnings("ignore:.*one (model )?at a time")
@pytest.mark.parametrize("where", [{"workers": 0}, {"workers": 0, "population": 4}, {"workers": 1}])
def test_a_mixer_that_exits_is_a_failed_trial(store: Store, where):
    """In its forward pass or in its backward pass."""
    study = small_study([Exiting, ExitingBackwards])
    assert run_study(study, store, device="cpu", **where) == 8
    failures = trials_frame(store, "small")["failure"]
    assert failures.str.contains(r"it calls exit\('a library is missing'\)").all()


def test_ctrl_c_within_a_trial_ends_the_study(store: Store, monkeypatch):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Plain, "forward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_here(small_study([Plain]), store)


def test_what_failed_is_not_tried_again_unless_asked_for(store: Store, tmp_path: Path):
    broken = tmp_path / "broken"
    broken.touch()
    study = small_study([mixer(Fragile, path=str(broken))], search=HIGH)
    run_here(study, store)
    assert list(trials_frame(store, "small")["status"].value_counts()) == [2, 2]
    assert of_type(run_here(study, store), TrialStarted) == []
    broken.unlink()
    assert of_type(run_here(study, store), TrialStarted) == []
    again = of_type(run_here(study, store, retry_failed=True), TrialStarted)
    assert {event.request.learning_rate for event in again} == {1e-1}
    assert cells_frame(store, "small")["finished"].all()
    assert failures_frame(store, "small").empty


def test_fresh_forgets_failures_too(store: Store):
    study = small_study([Raising])
    run_here(study, store)
    assert len(of_type(run_here(study, store, fresh=True), TrialStarted)) == 4
    assert len(failures_frame(store, "small")) == 4


def test_a_rate_that_failed_is_not_one_that_was_bad(store: Store):
    events = run_here(small_study([Fragile], search=HIGH), store)
    (cell,) = cells_frame(store, "small").to_dict(orient="records")
    assert (cell["failed"], cell["trials"], cell["finished"]) == (2, 4, False)
    assert cell["learning_rate"] == 1e-3
    assert (cell["seeds"], cell["parameters"] > 0) == (2, True)
    (done,) = of_type(events, CellDone)
    assert (done.learning_rate, done.failed) == (1e-3, 2)
    headings, (row,) = tables.readable(cells_frame(store, "small"))
    assert row[headings.index("failed trials")] == "2 of 4"


def test_a_cell_of_which_all_failed_has_no_accuracy(store: Store, tmp_path: Path):
    events = run_here(small_study([Raising, "attention"]), store)
    cells = cells_frame(store, "small")
    assert list(cells["failed"]) == [4, 0]
    assert list(cells["finished"]) == [False, True]
    assert cells["test_accuracy"].isna().tolist() == [True, False]
    assert [event.learning_rate is None for event in of_type(events, CellDone)] == [True, False]
    headings, rows = tables.readable(cells)
    assert rows[0][headings.index("test accuracy (range over seeds)")] == "-"
    assert [row[headings.index("failed trials")] for row in rows] == ["4 of 4", "0"]
    for write in (tables.write_markdown, tables.write_latex):
        write(cells, tmp_path / "table")
        assert "4 of 4" in (tmp_path / "table").read_text()


def test_a_user_error_of_a_mixer_fails_its_own_trials(store: Store):
    assert run_study(small_study([Refusing, Plain]), store, workers=0, device="cpu") == 4
    assert set(trials_frame(store, "small")["failure"].dropna()) == {
        "length 16: expected a multiple of 5"
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_what_would_fail_every_trial_ends_the_run(store: Store, tmp_path: Path, workers):
    """A folder for weights that cannot be made says nothing about the trial."""
    store.folder.write_text("a file in its place")
    with pytest.raises(FatalError, match="cannot create the folder"):
        run_study(small_study(), store, workers=workers, device="cpu", keep_weights=True)
    assert failures_frame(store, "small").empty
    with pytest.raises(FatalError):
        make_folder(store.folder)


@pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore:.*one model at a time")
def test_a_lost_gpu_ends_the_run_and_blames_one_trial_at_most(store: Store):
    study = small_study([LosesGpu, "attention"])
    with pytest.raises(FatalError, match="a population of 1"):
        run_here(study, store, population=4)
    assert store.rows("SELECT * FROM failures") == []
    for failed in (1, 2, 3, 4):
        with pytest.raises(FatalError, match="run the same command again"):
            run_here(study, store)
        assert len(store.rows("SELECT * FROM failures")) == failed
    run_here(study, store)
    assert list(cells_frame(store, "small")["finished"]) == [False, True]


def test_an_interruption_is_no_failure(store: Store):
    def interrupt(event) -> None:
        if isinstance(event, TrialStarted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(), store, workers=0, device="cpu", on_event=interrupt)
    assert store.rows("SELECT * FROM failures") == []


def test_a_trial_whose_worker_died_is_tried_once_more(store: Store, tmp_path: Path):
    dies = [mixer(Killed, once=str(tmp_path / "killed")), Killed]
    study = small_study(dies, seeds=(1,), search=FixedGrid(rates=(1e-2,)))
    events: list = []
    assert run_study(study, store, workers=1, device="cpu", on_event=events.append) == 1
    assert [event.again for event in of_type(events, TrialRaised)] == [True, True, False]
    assert list(cells_frame(store, "small")["finished"]) == [True, False]
    (failure,) = failures_frame(store, "small").to_dict(orient="records")
    assert "was killed, usually because memory ran out" in failure["message"]
    assert failure["traceback"] == ""
    assert store.rows("SELECT * FROM leases") == []


def test_a_run_from_python_warns(tmp_path: Path):
    path = tmp_path / "results.db"
    with pytest.warns(UserWarning, match="failed trials in small: 4"):
        run(small_study([Raising]), store=path, workers=0)
    with Store(path) as store:
        key = trials_frame(store, "small")["key"][0]
    with pytest.raises(UserError, match="ZeroDivisionError: a bug of the mixer"):
        load(key, store=path)


def test_no_claim_is_judged_over_failed_trials(store: Store):
    study = small_study([Fragile, Plain], search=HIGH)
    run_here(study, store)
    results = PaperResults.read(store, [study])
    with pytest.raises(NotMeasured, match=r"trials failed: Fragile.*, 2 layers"):
        results.select({"task.label": study.tasks[0].label})
    plain = next(cell for cell in results.all if not cell.failed)
    assert len(plain.outcomes()) == 2
    fragile = next(cell for cell in results.all if cell.failed)
    assert [outcome.accuracies == () for outcome in fragile.outcomes()] == [False, True]


def test_only_failures_of_what_is_run_count(store: Store):
    study = small_study([Raising, "attention"])
    whole = study.cells()
    assert run_study(study, store, workers=0, device="cpu") == 4
    part = narrow(study, mixers=["attention"])
    assert run_study(part, store, workers=0, device="cpu", whole=whole) == 0
    assert len(failures_frame(store, "small")) == 4


def test_a_stopped_trial_that_fails_later_keeps_what_it_came_to(store: Store):
    (cell,) = small_study(["attention"]).cells()
    store.save_failure(cell, 1e-3, 1, Failure("RuntimeError: x"), "cpu")
    (trial,) = store.trials(cell).values()
    assert (trial.status, trial.step, trial.failure) == ("failed", 0, Failure("RuntimeError: x"))
    assert math.isnan(trial.valid_accuracy)
    assert trial.reached(None)
    assert store.config(trial.key) == cell.trial(1e-3, 1)


@pytest.mark.parametrize(
    "message", ["x" * 10_000, "a\0b", "\ud800 alone", "", "[red]not markup[/]", "two\nlines"]
)
def test_any_message_can_be_stored(store: Store, message):
    (cell,) = small_study(["attention"]).cells()
    store.record_study("small", "settings", [cell])
    try:
        raise RuntimeError(message)
    except RuntimeError as error:
        failure = Failure.of(error)
    assert len(failure.message) <= MESSAGE_CHARACTERS
    assert len(failure.traceback) <= TRACEBACK_CHARACTERS
    store.save_failure(cell, 1e-3, 1, failure, "cpu")
    (trial,) = store.trials(cell).values()
    assert trial.failure == failure
