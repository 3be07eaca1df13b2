"""Ties of losses in a store: rates are compared on the same groups of examples."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import TRAIN, run_here, small_study

from recollect.analysis.learning_rate import tied
from recollect.studies.cell import Cell
from recollect.studies.results import cells_frame, history_frame, metrics_frame
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.studies.transfer import export, merge
from recollect.training.evaluate import GROUPS
from recollect.training.result import Metrics, Record, TrialResult

LOSSES = {2e-3: 2.815, 4e-3: 2.800, 8e-3: 2.783}
STUDY = small_study(["attention"], search=FixedGrid(rates=tuple(LOSSES), metric="loss"))
(CELL,) = STUDY.cells()
SPREAD = np.random.default_rng(0).normal(0, 0.2, GROUPS)


def result(cell: Cell, loss: float, shift: float, status="complete") -> TrialResult:
    """A trial whose losses on the groups differ as those of every trial; each group of the last
    validation counts."""
    groups = tuple((loss + SPREAD + shift).tolist())
    valid = Metrics(loss, 0.5, 0.5, 0.053, 0.05, 0.05, loss_groups=groups)
    early = replace(valid, loss_groups=tuple(10 * group for group in groups))
    history = (Record(2, 1e-3, loss, early, 0.1), Record(4, 1e-3, loss, valid, 0.1))
    test = {cell.task: valid} if status == "complete" else {}
    return TrialResult("", status, 4, history, test, 10, "cpu", 1.5)


def fill(store: Store, *, older: tuple[float, ...] = (), diverged: tuple[float, ...] = ()) -> None:
    """Trials of a study, of which those at some rates are of an older version or diverged on the
    second seed."""
    store.record_study("small", "", [CELL])
    for rate, loss in LOSSES.items():
        for seed in STUDY.seeds:
            ends = "diverged" if rate in diverged and seed == 2 else "complete"
            found = result(CELL, loss, 0.001 * seed, ends)
            if rate in older:
                history = tuple(
                    replace(record, valid=replace(record.valid, loss_groups=()))
                    for record in found.history
                )
                found = replace(found, history=history)
            store.save(CELL, rate, seed, found)


def chosen(store: Store) -> float:
    (row,) = cells_frame(store, "small").to_dict("records")
    return row["learning_rate"]


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        yield opened


def test_a_trial_has_the_scores_of_its_last_groups(store: Store):
    fill(store)
    trial = store.trials(CELL)[4e-3, 1]
    expected = -(2.800 + SPREAD + 0.001) / CELL.guess_loss
    assert trial.group_scores() == pytest.approx(expected.tolist())
    assert trial.until(2).group_scores() == ()


def test_rates_are_chosen_by_paired_differences_also_in_copies_of_a_store(store: Store, tmp_path):
    """The middle one would be chosen by errors of independent losses."""
    fill(store)
    assert chosen(store) == 8e-3
    export(store, tmp_path / "export.db")
    with Store(tmp_path / "export.db") as exported, Store(tmp_path / "merged.db") as merged:
        merge(merged, store.path)
        for copy in (exported, merged):
            assert chosen(copy) == 8e-3
            assert copy.trials(CELL) == store.trials(CELL)


def test_trials_of_older_versions_tie_as_they_did(store: Store):
    fill(store, older=tuple(LOSSES))
    assert all(trial.group_scores() == () for trial in store.trials(CELL).values())
    assert chosen(store) == 4e-3


def test_a_rate_without_groups_is_compared_by_independent_errors(store: Store):
    """It ties with the best, and the rate between them does not."""
    fill(store, older=(2e-3,))
    candidates = CELL.plan(store.trials(CELL)).candidates
    assert [len(o.groups) for o in candidates] == [0, 2, 2]
    assert [o.learning_rate for o in tied(candidates)] == [2e-3, 8e-3]


def test_a_trial_that_diverged_has_no_groups(store: Store):
    fill(store, diverged=(2e-3,))
    trials = store.trials(CELL)
    assert trials[2e-3, 2].group_scores() == ()
    (first, *_) = CELL.plan(trials).candidates
    assert first.groups == ()
    assert chosen(store) == 8e-3


@pytest.mark.parametrize("changed", [math.nan, math.inf])
def test_a_loss_that_is_no_number_leaves_the_groups_unknown(store: Store, changed):
    found = result(CELL, 2.8, 0.0)
    (early, last) = found.history
    groups = (changed, *last.valid.loss_groups[1:])
    last = replace(last, valid=replace(last.valid, loss_groups=groups))
    store.save(CELL, 4e-3, 1, replace(found, history=(early, last)))
    assert store.trials(CELL)[4e-3, 1].group_scores() == ()


def test_where_accuracy_counts_groups_do_not(store: Store):
    cell = CELL.replace(search=FixedGrid(rates=tuple(LOSSES)), guess_loss=None, guess=None)
    store.save(cell, 4e-3, 1, result(cell, 2.8, 0.0))
    assert store.trials(cell)[4e-3, 1].group_scores() == ()


def test_only_the_long_table_has_the_groups(store: Store, tmp_path: Path):
    """Of the last validation; the others are as without them."""
    train = TRAIN.replace(valid_examples=40)
    run_here(small_study(["attention"], train=train), store)
    long, history = metrics_frame(store, "small"), history_frame(store, "small")
    names = [f"valid/{i}" for i in range(1, GROUPS + 1)]
    groups = long[long["split"].isin(names)]
    assert set(long["split"]) == {"train", "valid", "test", *names}
    assert set(groups["metric"]) == {"loss"}
    assert groups["error"].isna().all()
    for key, own in groups.groupby("key"):
        last = history[history["key"] == key].iloc[-1]
        assert set(own["step"]) == {last["step"]}
        assert len(own) == GROUPS
        weights = [len(range(i, 40, GROUPS)) for i in range(GROUPS)]
        values = own.set_index("split")["value"][names]
        assert np.average(values, weights=weights) == pytest.approx(last["valid_loss"], rel=1e-5)
    assert not any("/" in column for column in history)
    with Store(tmp_path / "few.db") as few:
        run_here(small_study(["attention"]), few)
        assert set(metrics_frame(few, "small")["split"]) == {"train", "valid", "test"}
        assert list(history_frame(few, "small")) == list(history)
