"""What a study shows of a search that chooses on seeds of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small import run_here, small_study

from recollect.errors import UserError
from recollect.studies.cell import Cell
from recollect.studies.events import CellDone, TrialEnded
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import AnySearch, BestRateSearch, FixedGrid, LearningRateSearch
from recollect.studies.store import Store
from recollect.studies.transfer import merge
from recollect.training.result import Metrics, Record, TrialResult

SEARCH = BestRateSearch(low=1e-3, high=1e-2, per_decade=1, rungs=(), refine=0)
STUDY = small_study(["attention"], search=SEARCH)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A store of the study, whose model does not learn in its few steps."""
    found: Path = tmp_path_factory.mktemp("store") / "results.db"
    with Store(found) as store:
        events = run_here(STUDY, store)
    (done,) = (event for event in events if isinstance(event, CellDone))
    assert done.learnt is False
    assert done.rates == (1e-4, 1e-1)
    return found


def test_seeds_that_choose_are_kept_apart_from_those_that_report(path: Path):
    with Store(path) as store:
        trials, (row,) = (
            trials_frame(store, "small"),
            cells_frame(store, "small").to_dict("records"),
        )
    assert set(trials.loc[trials["searching"], "seed"]) == {9001, 9002}
    reported = trials[trials["chosen"] & ~trials["searching"]]
    assert list(reported["seed"]) == [1, 2]
    assert row["test_accuracy"] == pytest.approx(reported["test_accuracy"].mean())
    assert row["valid_accuracy"] == pytest.approx(reported["valid_accuracy"].mean())
    choosing = trials[trials["chosen"] & trials["searching"]]
    assert row["choice_merit"] == pytest.approx(choosing["valid_accuracy"].mean())
    assert row["choices"] == 1
    assert row["seeds"] == 2


def test_what_was_tried_of_a_model_that_did_not_learn_is_reported(path: Path):
    with Store(path) as store:
        (row,) = cells_frame(store, "small").to_dict("records")
    assert row["finished"]
    assert row["learnt"] is False
    assert (row["lowest_rate"], row["highest_rate"], row["budget"]) == (1e-4, 1e-1, 8)


def test_where_the_reported_seeds_choose_the_rates_that_competed_are_counted(tmp_path: Path):
    with Store(tmp_path / "results.db") as store:
        run_here(small_study(["attention"], search=FixedGrid(rates=(1e-3, 1e-2))), store)
        (row,) = cells_frame(store, "small").to_dict("records")
    assert row["choices"] == 2


def test_rates_that_nobody_has_trained_are_not_among_those_tried(tmp_path: Path):
    with Store(tmp_path / "results.db") as store:
        store.record_study("small", "", STUDY.cells())
        assert cells_frame(store, "small").loc[0, ["lowest_rate", "highest_rate"]].isna().all()

        def stop_early(event) -> None:
            if isinstance(event, TrialEnded):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_study(STUDY, store, workers=0, device="cpu", on_event=stop_early)
        (row,) = cells_frame(store, "small").to_dict("records")
    assert row["lowest_rate"] == row["highest_rate"]


@pytest.mark.parametrize(
    ("learns", "learnt", "counted"),
    [((), False, 0), ((9002,), False, 1), ((9001, 9002), False, 2), ((1,), True, 0)],
)
def test_a_model_has_learnt_on_the_seeds_that_are_reported(tmp_path, learns, learnt, counted):
    """What a seed of the search has learnt is counted beside it."""
    (cell,) = STUDY.cells()
    with Store(tmp_path / "results.db") as store:
        store.record_study("small", "", [cell])
        while requests := cell.plan(store.trials(cell)).requests:
            for request in requests:
                good = request.seed in learns and request.learning_rate == 1e-3
                valid = Metrics(2.0, 0.9 if good else cell.chance, 0.0, 0.01, 0.01)
                result = TrialResult(
                    "", "complete", 8, (Record(8, 1e-3, 2.0, valid, 0.1),), {cell.task: valid}, 9,
                    "cpu", 0.1,
                )  # fmt: skip
                store.save(cell, request.learning_rate, request.seed, result)
        (row,) = cells_frame(store, "small").to_dict("records")
    assert row["finished"]
    assert (row["learnt"], row["learnt_searching"]) == (learnt, counted)
    assert row["searching_seeds"] == 2


def tuned(tmp_path: Path, search: AnySearch, curve: Callable[[float, int], float], error: float):
    """The row of a cell whose trials end at the accuracies of a curve over rate and seed; before,
    they are at chance."""
    (cell,) = small_study(["attention"], search=search).cells()
    with Store(tmp_path / "results.db") as store:
        store.record_study("small", "", [cell])
        while requests := cell.plan(store.trials(cell)).requests:
            for request in requests:
                step = request.until or 8
                reached = (
                    cell.chance if request.until else curve(request.learning_rate, request.seed)
                )
                valid = Metrics(2.0, reached, 0.0, 0.01, error)
                history = tuple(Record(at, 1e-3, 2.0, valid, 0.1) for at in range(2, step + 1, 2))
                status = "stopped" if request.until else "complete"
                test = {} if request.until else {cell.task: valid}
                result = TrialResult("", status, step, history, test, 9, "cpu", 0.1)
                store.save(cell, request.learning_rate, request.seed, result)
        (row,) = cells_frame(store, "small").to_dict("records")
    assert row["finished"]
    return row


def test_no_star_where_the_window_went_beyond_the_rates_of_the_search(tmp_path: Path):
    """The lowest rate of the search is the best; below it, other seeds have failed."""

    def curve(rate: float, seed: int) -> float:
        return (0.999 if seed == 9001 else 0.98) if rate > 9e-4 else 0.3

    row = tuned(tmp_path, LearningRateSearch(low=9.49e-4, high=3e-2), curve, 0.001)
    assert row["learning_rate"] > 9e-4 > row["lowest_rate"]
    assert not row["window_low_open"]
    assert not row["at_edge"]


def test_a_star_where_an_end_ties_on_the_seed_on_which_it_ran(tmp_path: Path):
    """All rates from 3e-2 to the limit tie, and only one in their middle runs on both seeds."""
    row = tuned(tmp_path, BestRateSearch(), lambda rate, _: 0.8 if rate > 3e-2 else 0.5, 0.018)
    assert row["learning_rate"] < row["highest_rate"]
    assert row["at_edge"]


def test_rates_that_were_stopped_are_no_evidence_against_a_model(tmp_path: Path):
    """One rate solves the task on both seeds of the search by luck, so the others are stopped."""

    def curve(rate: float, seed: int) -> float:
        return 1.0 if seed > 9000 and 9e-3 < rate < 1.1e-2 else 0.5

    row = tuned(tmp_path, BestRateSearch(rungs=(0.25, 0.5)), curve, 0.01)
    assert row["learnt"] is False
    assert row["learnt_searching"] == 2
    assert row["trials"] > 4
    assert row["lowest_rate"] == row["highest_rate"] == row["learning_rate"]


def test_errors_are_stored_and_merged(path: Path, tmp_path: Path):
    query = "SELECT * FROM measured WHERE error IS NOT NULL ORDER BY key, step, split, task, metric"
    with Store(path) as store, Store(tmp_path / "other.db") as other:
        merge(other, path)
        ours, theirs = ([*map(tuple, each.rows(query))] for each in (store, other))
        assert ours == theirs
        assert {row[5] for row in ours} == {"loss", "accuracy", "example_accuracy"}
        assert all(0 <= row[-1] < (1 if row[5] == "loss" else 0.25) for row in ours)
        (cell,) = store.cells("small")
        trial = next(iter(store.trials(cell).values()))
        assert trial.errors.keys() == trial.scores.keys()


@pytest.mark.parametrize(("window", "kind"), [(True, LearningRateSearch), (False, BestRateSearch)])
def test_cells_of_older_stores_are_read(window, kind):
    """They name one search with a switch, which chose on the study's seeds."""
    (cell,) = STUDY.cells()
    values = json.loads(cell.model_dump_json())
    values["search"] = {
        "low": 1e-3, "high": 1e-2, "per_decade": 1, "rungs": [], "refine": 0, "window": window,
    }  # fmt: skip
    older = Cell(**values)
    assert type(older.search) is kind
    assert older.search.own_seeds == ()
    assert Cell(**json.loads(older.model_dump_json())) == older


def test_seeds_that_choose_cannot_be_reported():
    with pytest.raises(UserError, match="the search chooses rates on the seed 9002"):
        small_study(search=SEARCH, seeds=(1, 9002))
    assert small_study(search=SEARCH.replace(search_seeds=0), seeds=(1, 9002)).seeds == (1, 9002)
