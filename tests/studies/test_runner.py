from pathlib import Path

import pandas as pd
import pytest
import torch
from small import (
    GRID,
    RACE,
    TASK,
    TRAIN,
    Diverging,
    Plain,
    run_here,
    small_study,
    untimed,
)

from recollect.api.run import load, run
from recollect.errors import FatalError, UserError
from recollect.execution.executor import EXECUTORS, register_executor
from recollect.execution.job import Job
from recollect.execution.population import InProcess
from recollect.execution.run_jobs import run_jobs
from recollect.mixers.catalogue import mixer
from recollect.studies.events import (
    CellDone,
    StudyStarted,
    TrialEnded,
    TrialRecorded,
    TrialStarted,
)
from recollect.studies.grid import models_grid
from recollect.studies.leases import Leases
from recollect.studies.narrow import narrow
from recollect.studies.replay import Request
from recollect.studies.results import (
    CELL_COLUMNS,
    OUTCOME_COLUMNS,
    RECORD_COLUMNS,
    TRIAL_COLUMNS,
    cells_frame,
    history_frame,
    metrics_frame,
    trials_frame,
)
from recollect.studies.runner import run_study
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrialConfig
from recollect.training.result import Metrics, Record, TrialResult
from recollect.training.trial import run_trial

pytestmark = pytest.mark.slow

LONGER = MQAR(seq_len=32, num_kv_pairs=2, vocab_size=64)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        yield opened


def started(events: list) -> list[Request]:
    return [event.request for event in events if isinstance(event, TrialStarted)]


def test_a_study_gives_one_row_for_each_cell(tmp_path: Path):
    study = small_study(test_tasks=(LONGER,))
    table = run(study, store=tmp_path / "results.db", workers=0, progress=False).cells
    assert list(table.columns[: len(CELL_COLUMNS)]) == list(CELL_COLUMNS)
    assert list(table["mixer"]) == ["attention", "base-conv"]
    assert table["finished"].all()
    assert set(table["learning_rate"]) <= set(GRID.rates)
    assert not table["at_edge"].any()  # nothing has learnt, which the table says in words
    assert (table["test_accuracy_min"] <= table["test_accuracy"]).all()
    assert (table["test_accuracy"] <= table["test_accuracy_max"]).all()
    longer = [table[f"test_accuracy{end}[{LONGER.label}]"] for end in ("_min", "", "_max")]
    measures = metrics_frame(tmp_path / "results.db", study)
    its = measures[measures["chosen"] & (measures["task"] == LONGER.label)]
    by_mixer = its[its["metric"] == "accuracy"].groupby("mixer")["value"]
    for column, expected in zip(
        longer, (by_mixer.min(), by_mixer.mean(), by_mixer.max()), strict=True
    ):
        assert list(column) == pytest.approx(list(expected[table["mixer"]]))
    assert (longer[0] < longer[2]).any()
    assert (table["seeds"] == 2).all()
    assert (table["trials"] == 4).all()
    assert (table["search_steps"] == 4 * 8).all()
    assert (table["steps"] == 8).all()
    assert (table["parameters"] > 0).all()


def test_tables_say_what_training_gave(store: Store):
    run_here(small_study(["attention"]), store)
    cell = store.cells("small")[0]
    result = run_trial(TrialConfig(**cell.trial(1e-2, 2)))
    trials = trials_frame(store, "small").set_index(["learning_rate", "seed"])
    history = history_frame(store, "small").set_index(["learning_rate", "seed"]).loc[1e-2, 2]
    assert trials.loc[(1e-2, 2), "test_accuracy"] == result.test[TASK.label].accuracy
    assert trials.loc[(1e-2, 2), "key"] == result.key
    assert list(history["train_loss"]) == [record.train_loss for record in result.history]
    assert trials.loc[(1e-2, 2), "valid_loss"] == list(history["valid_loss"])[-1]
    row = cells_frame(store, "small").iloc[0]
    chosen = trials[trials["chosen"]]
    assert set(chosen.index.get_level_values(0)) == {row["learning_rate"]}
    assert row["valid_accuracy"] == chosen["valid_accuracy"].mean()
    assert row["test_accuracy_max"] == chosen["test_accuracy"].max()


def test_a_study_without_results_has_tables_too(store: Store):
    store.record_study("small", "", small_study().cells())
    table = cells_frame(store, "small")
    assert not table["finished"].any()
    assert table["test_accuracy"].isna().all()
    assert list(trials_frame(store, "small")) == [*TRIAL_COLUMNS, *OUTCOME_COLUMNS]
    assert list(history_frame(store, "small")) == [*TRIAL_COLUMNS, *RECORD_COLUMNS]


def test_what_is_stored_is_not_run_again(store: Store):
    first = run_here(small_study(search=RACE), store)
    again = run_here(small_study(search=RACE), store)
    assert len(started(first)) > 0
    assert started(again) == []
    assert again == [StudyStarted(cells=2, done=2, workers=0)]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_population_gives_the_table_of_one_trial_after_the_other(store: Store, tmp_path: Path):
    double = TRAIN.replace(dtype="float64")
    study = small_study(["base-conv", "s6", "attention"], search=RACE, train=double)
    together = run_here(study, store, population=64)
    with Store(tmp_path / "alone.db") as other:
        run_here(study, other)
        for frame in (cells_frame, trials_frame, history_frame):
            pd.testing.assert_frame_equal(
                untimed(frame(store, "small")), untimed(frame(other, "small")), rtol=1e-8
            )
    first_end = [isinstance(event, TrialEnded) for event in together].index(True)
    assert sum(isinstance(event, TrialStarted) for event in together[:first_end]) == 3
    order = [e.cell.label for e in together if isinstance(e, TrialStarted | CellDone)]
    runs = [label for label, before in zip(order, [None, *order], strict=False) if label != before]
    assert len(runs) == 3, "one cell is finished after the other"
    assert not list(store.folder.rglob("*.safetensors")), "no checkpoint is left"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 0, "workers": 0}, "population=0: expected at least 1"),
        ({"population": 2, "workers": 2}, "use workers=0"),
    ],
)
def test_a_population_that_cannot_be_is_refused(tmp_path: Path, options, message):
    with pytest.raises(UserError, match=message):
        run(small_study(), store=tmp_path / "results.db", device="cpu", **options)


def test_parts_and_wholes_share_their_trials(store: Store):
    run_here(narrow(small_study(), mixers=["attention"], seeds=1), store)
    events = run_here(small_study(), store)
    assert len(started(events)) == 8 - 2
    assert (
        started(run_here(small_study(name="other", search=FixedGrid(rates=(1e-2,))), store)) == []
    )


def test_other_studies_do_not_show_in_a_study_s_tables(store: Store, tmp_path: Path):
    run_here(small_study(search=FixedGrid(rates=(1e-3, 1e-2, 1e-1)), name="other"), store)
    run_here(small_study(search=RACE), store)
    with Store(tmp_path / "alone.db") as alone:
        run_here(small_study(search=RACE), alone)
        for frame in (cells_frame, trials_frame):
            pd.testing.assert_frame_equal(
                untimed(frame(store, "small")), untimed(frame(alone, "small"))
            )


def test_events_tell_the_story(store: Store):
    events = run_here(small_study(), store)
    assert events[0] == StudyStarted(cells=2, done=0, workers=0)
    assert [type(event) for event in events[1:7]] == [
        TrialStarted,
        *[TrialRecorded] * 4,
        TrialEnded,
    ]
    assert [event.record.step for event in events[2:6]] == [2, 4, 6, 8]
    ends = [event for event in events if isinstance(event, TrialEnded)]
    left = [event.seconds_left for event in ends]
    assert left[-1] == 0
    assert all(seconds is not None and seconds > 0 for seconds in left[:-1])
    dones = [event for event in events if isinstance(event, CellDone)]
    assert [(event.done, event.cells) for event in dones] == [(1, 2), (2, 2)]
    table = cells_frame(store, "small")
    assert [event.accuracy for event in dones] == list(table["valid_accuracy"])
    assert [event.learning_rate for event in dones] == list(table["learning_rate"])


def test_an_interrupted_study_goes_on_where_it_was(store: Store, tmp_path: Path):
    """A KeyboardInterrupt at the first, second, ... validation, until one run comes to its end."""
    study = small_study(search=RACE)
    requests: list[Request] = []
    interruptions = 0

    def interrupt_after(records: int):
        def on_event(event) -> None:
            nonlocal records
            if isinstance(event, TrialEnded):
                requests.append(event.request)
            records -= isinstance(event, TrialRecorded)
            if records < 0:
                raise KeyboardInterrupt

        return on_event

    while True:
        try:
            run_study(study, store, workers=0, device="cpu", on_event=interrupt_after(5))
            break
        except KeyboardInterrupt:
            interruptions += 1
            assert store.rows("SELECT * FROM leases") == []
    assert interruptions > 3
    assert len(requests) == len(set(requests)) * 2, "both cells ask for the same, each once"
    with Store(tmp_path / "whole.db") as whole:
        run_here(study, whole)
        for frame in (cells_frame, trials_frame, history_frame):
            pd.testing.assert_frame_equal(
                untimed(frame(store, "small")), untimed(frame(whole, "small"))
            )
    assert not store.folder.exists(), "no checkpoint outlives its cell"


def test_a_stopped_trial_whose_checkpoint_is_gone_is_run_again(store: Store):
    def interrupt(event) -> None:
        if isinstance(event, TrialEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(small_study(search=RACE), store, workers=0, device="cpu", on_event=interrupt)
    (checkpoint,) = store.folder.rglob("checkpoint.safetensors")
    checkpoint.unlink()
    run_here(small_study(search=RACE), store)
    assert cells_frame(store, "small")["finished"].all()


def test_a_checkpoint_stays_until_its_outcome_is_stored(store: Store, monkeypatch):
    def fail(_store, _cell, _rate, _seed, result) -> None:
        if result.status != "stopped":
            raise UserError("the disk is full")
        save(store, _cell, _rate, _seed, result)

    save = Store.save
    monkeypatch.setattr(Store, "save", fail)
    with pytest.raises(UserError, match="the disk is full"):
        run_here(small_study(["attention"], search=RACE), store)
    assert len(list(store.folder.rglob("checkpoint.safetensors"))) == 3
    monkeypatch.undo()
    run_here(small_study(["attention"], search=RACE), store)
    assert not store.folder.exists()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_what_ends_a_run_is_raised_when_what_else_has_ended_is_stored(store: Store, monkeypatch):
    monkeypatch.setattr(EXECUTORS, "_entries", {name: EXECUTORS[name] for name in EXECUTORS})

    @register_executor("the-first-ends-the-run")
    class FirstEndsTheRun(InProcess):
        def wait(self, seconds):
            first, *others = super().wait(seconds)
            yield first[0], FatalError("the first")
            yield from others

    with pytest.raises(FatalError, match="the first"):
        run_here(small_study(["base-conv"]), store, population=3, on="the-first-ends-the-run")
    assert len(store.trials(small_study(["base-conv"]).cells()[0])) == 2


def test_a_mixer_that_was_edited_meanwhile_is_not_trained(store: Store):
    (cell,) = small_study(["attention"]).cells()
    job = Job.of(
        "of the mixer as it was",
        "a trial",
        cell.trial(1e-3, 1),
        until=None,
        keep=frozenset(),
        artifacts=store.artifacts.address,
    )
    with pytest.raises(FatalError, match="was edited after the study began"):
        list(run_jobs([job], "cpu", lambda *_: None))


def test_fresh_begins_interrupted_trials_anew(store: Store, monkeypatch):
    """What a trial without an outcome has left is swept; without `fresh` it goes on from it."""

    def steps_until(interruption: int, **options) -> list[int]:
        seen: list[int] = []

        def on_event(event) -> None:
            if isinstance(event, TrialRecorded):
                seen.append(event.record.step)
                if len(seen) == interruption:
                    raise KeyboardInterrupt

        study = small_study(["attention"])
        with pytest.raises(KeyboardInterrupt):
            run_study(study, store, workers=0, device="cpu", on_event=on_event, **options)
        return seen

    monkeypatch.setattr("recollect.training.trial.CHECKPOINT_SECONDS", 0.0)
    assert steps_until(2) == [2, 4]
    assert steps_until(2)[0] == 4
    assert steps_until(1, fresh=True) == [2]


def test_fresh_forgets_the_study_s_own_trials(store: Store):
    run_here(small_study(), store)
    events = run_here(narrow(small_study(), mixers=["attention"]), store, fresh=True)
    assert len(started(events)) == 4
    assert started(run_here(small_study(), store)) == []


def test_a_diverged_trial_is_an_outcome(store: Store):
    run_here(small_study([Diverging]), store)
    trials = trials_frame(store, "small")
    assert (trials["status"] == "diverged").all()
    assert trials["valid_loss"].isna().all()
    assert (trials["test_accuracy"] == 0).all()
    row = cells_frame(store, "small").iloc[0]
    assert row["finished"]
    assert row["diverged"] == len(trials) == 4
    chosen = ["learning_rate", "at_edge", "valid_accuracy", "test_accuracy", "test_loss", "steps"]
    assert row[chosen].isna().all(), "there is nothing to choose from"
    assert row["window"] is None


@pytest.mark.parametrize(
    ("accuracies", "at_edge"),
    [
        ((0.5, 0.9, 0.5), False),
        ((0.9, 0.5, 0.5), True),
        ((0.5, 0.9, 0.9), True),
        ((0.9, 0.9, 0.9), True),
        ((0.0, 0.0, 0.0), False),  # not learnt
        ((1.0, 1.0, 1.0), False),
    ],
)
def test_a_choice_is_at_the_edge_where_one_beyond_could_be_better(
    store: Store, accuracies, at_edge
):
    """The rate in the middle of those that tie is chosen; they may reach the end all the same."""
    rates = (1e-3, 1e-2, 1e-1)
    study = small_study(["attention"], search=FixedGrid(rates=rates), seeds=(1,))
    (cell,) = study.cells()
    store.record_study("small", "settings", [cell])
    for rate, accuracy in zip(rates, accuracies, strict=True):
        metrics = Metrics(loss=1.0, accuracy=accuracy, example_accuracy=0.0)
        ended = TrialResult(
            key="",
            status="complete",
            step=8,
            history=(Record(8, rate, 1.0, metrics, 1.0),),
            test={cell.task: metrics},
            parameters=1,
            device="",
            seconds=1.0,
        )
        store.save(cell, rate, 1, ended)
    assert cells_frame(store, "small")["at_edge"].tolist() == [at_edge]


def test_weights_are_kept_where_asked(tmp_path: Path):
    path = tmp_path / "results.db"
    run(small_study(["attention"]), store=path, workers=0, keep_weights=True)
    with Store(path) as store:
        trials = trials_frame(store, "small")
        config = TrialConfig(**store.config(trials["key"][0]))
    model, expected = load(trials["key"][0], store=path), run_trial(config).model
    assert expected is not None
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(UserError, match="no trial 'unknown'"):
        load("unknown", store=path)
    for file in (path.name, str(path), path.parent / "no suffix"):
        with pytest.raises(UserError, match=r"rc\.load\(key, store="):
            load(file)


def test_weights_that_were_not_kept_are_a_user_error(tmp_path: Path):
    run(small_study(["attention"]), store=tmp_path / "results.db", workers=0)
    with Store(tmp_path / "results.db") as store:
        key = trials_frame(store, "small")["key"][0]
    with pytest.raises(UserError, match="were not kept"):
        load(key, store=tmp_path / "results.db")


def test_trials_of_another_process_are_waited_for(store: Store):
    """Its lease ends without a result here, and the trial is run after all."""
    study = small_study(["attention"])
    (cell,) = study.cells()
    with Leases(store) as theirs:
        assert theirs.claim(cell, Request(1e-2, 2, None))

        def let_go(event) -> None:
            if isinstance(event, TrialEnded) and len(store.trials(cell)) == 3:
                theirs.__exit__(None, None, None)

        run_study(study, store, workers=0, device="cpu", on_event=let_go)
    assert len(store.trials(cell)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers=-1"),
        ({"device": "abacus"}, "abacus"),
        ({"models": models_grid([mixer("attention", n_heads=3)], d_model=[8])}, "n_heads"),
    ],
)
def test_what_cannot_be_run_leaves_the_store_as_it_is(store: Store, options, message):
    study = small_study(models=options.pop("models", small_study().models))
    with pytest.raises(UserError, match=message):
        run_study(study, store, **{"device": "cpu", **options})
    assert store.studies() == []


# In worker processes


def test_workers_give_what_one_process_gives(store: Store, tmp_path: Path):
    study = small_study([Plain, "attention"], search=RACE)
    events: list = []
    run_study(study, store, workers=2, device="cpu", keep_weights=True, on_event=events.append)
    assert {type(event) for event in events} == {
        StudyStarted,
        TrialStarted,
        TrialRecorded,
        TrialEnded,
        CellDone,
    }
    assert set(trials_frame(store, "small")["device"].str.endswith(", 1 thread")) == {True}
    with Store(tmp_path / "here.db") as here:
        run_here(study, here)
        pd.testing.assert_frame_equal(
            untimed(cells_frame(store, "small")), untimed(cells_frame(here, "small"))
        )
    complete = trials_frame(store, "small").query("status == 'complete'")["key"]
    assert all(store.weights_path(key).exists() for key in complete)
