import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from small import RACE, TRAIN, run_here, small_study, untimed
from test_store import result

from recollect.errors import UserError
from recollect.execution.failure import Failure
from recollect.studies import transfer
from recollect.studies.cell import Cell
from recollect.studies.events import Event, TrialEnded, TrialStarted
from recollect.studies.narrow import narrow
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.schema import TRIAL_COLUMNS
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.studies.transfer import export, merge
from recollect.training.result import Measure, Metrics

pytestmark = pytest.mark.slow

STUDY = small_study(search=RACE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("whole") / "whole.db") as store:
        run_here(STUDY, store)
        yield store


def test_an_export_is_a_store_with_everything_in_it(whole: Store, tmp_path: Path):
    export(whole, tmp_path / "export.db")
    assert [path.name for path in tmp_path.iterdir()] == ["export.db"]
    with Store(tmp_path / "export.db", must_exist=True) as copy:
        assert cells_frame(copy, "small").equals(cells_frame(whole, "small"))
        assert trials_frame(copy, "small").equals(trials_frame(whole, "small"))


def test_an_export_overwrites_nothing(whole: Store, tmp_path: Path):
    path = tmp_path / "precious.txt"
    path.write_text("precious")
    with pytest.raises(UserError, match="does not overwrite"):
        export(whole, path)
    assert path.read_text() == "precious"
    with pytest.raises(UserError, match="cannot write"):
        export(whole, tmp_path / "absent" / "export.db")


def test_parts_of_a_study_merge_into_the_whole(whole: Store, tmp_path: Path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        run_here(narrow(STUDY, mixers=["attention"]), a, whole=STUDY.cells())
        run_here(narrow(STUDY, mixers=["base-conv"]), b, whole=STUDY.cells())
        merged = merge(a, b.path)
        assert (merged.cells, merged.differences) == (1, {})
        assert merged.trials == len(trials_frame(b, "small"))
        assert untimed(cells_frame(a, "small")).equals(untimed(cells_frame(whole, "small")))
        assert not any(isinstance(event, TrialStarted) for event in run_here(STUDY, a))
        assert merge(a, b.path).trials == 0


def test_what_came_further_counts(tmp_path: Path):
    """A trial stopped at a rung in one store and complete in the other is complete in both."""
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        run_here(small_study(mixers=["attention"]), a)
        (stopped,) = interrupted(small_study(mixers=["attention"], search=RACE), b)
        query = f"SELECT {', '.join(TRIAL_COLUMNS)} FROM trials WHERE key = ?"
        (complete,) = a.rows(query, stopped["key"])
        assert merge(a, b.path).trials == 0
        assert a.rows(query, stopped["key"]) == [complete]
        merge(b, a.path)
        assert b.rows(query, stopped["key"]) == [complete]
        assert b.measures(stopped["key"]) == a.measures(stopped["key"])


def test_an_unfinished_trial_comes_with_its_checkpoint(tmp_path: Path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        (stopped,) = interrupted(small_study(search=RACE), b)
        merge(a, b.path)
        assert a.checkpoint_path(stopped["key"]).read_bytes() == (
            b.checkpoint_path(stopped["key"]).read_bytes()
        )


def test_files_are_copied_while_others_may_write(tmp_path: Path, monkeypatch):
    def copy(source: Path, target: Path) -> None:
        with sqlite3.connect(tmp_path / "a.db", timeout=0) as someone:
            someone.execute("BEGIN IMMEDIATE")
        someone.close()
        transfer_copy(source, target)

    transfer_copy = transfer._copy
    monkeypatch.setattr(transfer, "_copy", copy)
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        interrupted(small_study(search=RACE), b)
        assert merge(a, b.path).trials == 1
        assert list(a.folder.rglob("*.safetensors"))


def test_cells_of_a_task_that_is_trained_otherwise_stay_out(tmp_path: Path):
    """Both have the settings of the study; what a task overrides is no part of them."""
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        longer = small_study(train=small_study().train.replace(steps=10))
        for store, study in ((a, small_study(["attention"])), (b, longer)):
            store.record_study("small", "settings", study.cells())
        assert merge(a, b.path).cells == 0
        assert a.cells("small") == small_study(["attention"]).cells()


def test_observations_come_to_a_store_that_has_the_trials_without(tmp_path: Path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        observed = small_study(["attention"], observe=True)
        run_here(observed.replace(observe=False), a)
        run_here(observed, b)
        assert merge(a, b.path).trials == 0
        assert not any(isinstance(event, TrialStarted) for event in run_here(observed, a))
        for key in trials_frame(b, "small")["key"]:
            assert a.observations_path(key).read_bytes() == b.observations_path(key).read_bytes()


def interrupted(study: Study, store: Store) -> list[sqlite3.Row]:
    """Run a study until its first trial has stopped."""

    def interrupt(event: Event) -> None:
        if isinstance(event, TrialEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, store, workers=0, device="cpu", on_event=interrupt)
    return store.rows("SELECT * FROM trials WHERE status = 'stopped'")


def test_studies_with_other_settings_stay_as_they_are(whole: Store, tmp_path: Path):
    with Store(tmp_path / "a.db") as a:
        run_here(small_study(mixers=["attention"]), a)
        merged = merge(a, whole.path)
        (search, *_) = merged.differences["small"]
        assert search == "search=LearningRateSearch (FixedGrid)"
        assert len(a.cells("small")) == 1


def test_a_merge_says_which_settings_differ(tmp_path: Path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        longer = TRAIN.replace(steps=10, weight_decay=0.2)
        for store, study in (
            (a, small_study(["attention"])),
            (b, small_study(["base-conv"], train=longer, search=FixedGrid(rates=[0.5]))),
        ):
            store.record_study("small", str(store.path), study.cells())
        assert merge(a, b.path).differences == {
            "small": (
                "other settings: search.rates=[0.5] ([0.001, 0.01]); train.steps=10 (8);"
                " train.weight_decay=0.2 (0.1)",
            )
        }


def test_a_metric_has_one_direction_in_a_store(tmp_path: Path):
    better, worse = (
        Metrics(1.0, 0.5, 0.5, further={"speed": Measure(0.5, None, lower)})
        for lower in (False, True)
    )
    cells = small_study(["attention"]).cells()
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        for store, metrics in ((a, better), (b, worse)):
            store.record_study("small", "settings", cells)
            store.save(cells[0], 1e-3, 1, replace(result(), test={cells[0].task: metrics}))
        with pytest.raises(UserError, match=r"'speed', .* is better in this store, .*is better"):
            a.save(cells[0], 1e-2, 1, replace(result(), test={cells[0].task: worse}))
        with pytest.raises(UserError, match=r"'speed', .* is better in .*a\.db"):
            merge(a, b.path)
        assert len(a.trials(cells[0])) == 1


def test_a_merge_says_what_is_not_in_a_table_and_why(tmp_path: Path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        ours = small_study(["attention"], seeds=(1,))
        run_here(ours, a)
        run_here(small_study(["attention"], seeds=(5, 6)), b)
        merged = merge(a, b.path)
        assert (merged.trials, merged.cells) == (4, 0)
        assert merged.differences == {"small": ("seeds=5,6 (1)",)}
        assert cells_frame(a, "small")["seeds"].tolist() == [1]
        assert [cell.seeds for cell in a.former_cells("small")] == [(5, 6)]
        again = merge(a, b.path)
        assert (again.found, again.trials, again.cells, again.failures) == (4, 0, 0, 0)


def test_a_merge_brings_back_nothing_that_a_study_has_dropped(tmp_path: Path):
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        for store in (a, b):
            run_here(small_study(seeds=(1,)), store)
        run_here(small_study(["attention"], seeds=(1,)), a)
        merged = merge(a, b.path)
        assert [cell.mixer for cell in a.cells("small")] == ["attention"]
        (reason,) = merged.differences["small"]
        assert "base-conv" in reason
        assert "no longer part of it here" in reason
        (attention, base_conv) = small_study(seeds=(1,)).cells()
        b.record_study("small", "settings", [attention, versioned(base_conv, 77)])
        assert merge(a, b.path).cells == 0


def versioned(cell: Cell, numerics: int) -> Cell:
    """A cell with another version of its mixer."""
    model = cell.template["model"]
    layers = [layer | {"numerics": numerics} for layer in model["mixer"]]
    return cell.replace(template=cell.template | {"model": model | {"mixer": layers}})


def test_a_merge_knows_another_version_of_a_mixer(tmp_path: Path):
    (cell,) = small_study(["attention"]).cells()
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        a.record_study("small", "settings", [cell])
        b.record_study("small", "settings", [versioned(cell, 77)])
        assert merge(a, b.path).differences == {
            "small": ("another version of the mixer of attention",)
        }


# failures


FAILURE = Failure("RuntimeError: out of luck")


def failing(store: Store, cell: Cell) -> None:
    store.record_study("small", "settings", [cell])
    store.save_failure(cell, 1e-3, 1, FAILURE, "cpu")


def test_failures_are_carried_and_take_no_trial_s_place(tmp_path: Path):
    study = small_study(["attention"])
    (cell,) = study.cells()
    paths = [tmp_path / f"{name}.db" for name in "abc"]
    with Store(paths[0]) as a, Store(paths[1]) as b, Store(paths[2]) as c:
        failing(b, cell)
        run_here(study, a)
        assert merge(a, b.path).failures == 0
        assert cells_frame(a, "small")["finished"].all()
        merged = merge(c, b.path)
        assert (merged.failures, merged.trials, merged.cells) == (1, 0, 1)
        assert [trial.failure for trial in c.trials(cell).values()] == [FAILURE]
        assert merge(c, b.path).failures == 0
        merge(c, a.path)
        assert cells_frame(c, "small")["failed"].tolist() == [0]
        assert merge(c, b.path).failures == 0
        export(b, tmp_path / "export.db")
    with Store(tmp_path / "export.db") as copy:
        assert [trial.failure for trial in copy.trials(cell).values()] == [FAILURE]


def test_a_failure_of_a_trial_that_came_further_here_is_left_out(tmp_path: Path):
    study = small_study(["attention"], search=RACE)
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        (stopped,) = interrupted(study, a)
        (cell,) = study.cells()
        b.record_study("small", "settings", [cell])
        b.save_failure(cell, stopped["learning_rate"], stopped["seed"], FAILURE, "cpu")
        assert merge(a, b.path).failures == 0
        assert [trial.status for trial in a.trials(cell).values()] == ["stopped"]


def test_a_failure_here_ends_with_a_result_from_there(tmp_path: Path):
    study = small_study(["attention"])
    (cell,) = study.cells()
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        failing(a, cell)
        run_here(study, b)
        merge(a, b.path)
        assert a.rows("SELECT * FROM failures") == []
        assert {trial.status for trial in a.trials(cell).values()} == {"complete"}


def test_a_merge_leaves_the_other_store_to_its_run(whole: Store, tmp_path: Path, monkeypatch):
    """It takes no lock there, for which a run would wait."""
    taken = []

    def add_failures(connection: sqlite3.Connection) -> int:
        with closing(sqlite3.connect(whole.path, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        taken.append(True)
        return 0

    monkeypatch.setattr(transfer, "_add_failures", add_failures)
    with Store(tmp_path / "new.db") as new:
        merge(new, whole.path)
    assert taken == [True]


def test_merging_needs_another_store(whole: Store, tmp_path: Path):
    for path, message in ((whole.path, "the store itself"), (tmp_path / "x.db", "there is no")):
        with pytest.raises(UserError, match=message):
            merge(whole, path)
    with sqlite3.connect(tmp_path / "foreign.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(UserError, match="another program's"):
        merge(whole, tmp_path / "foreign.db")
