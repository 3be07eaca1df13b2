"""Studies whose models are observed in training."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from small import GRID, RACE, TASK, TRAIN, Diverging, Plain, run_here, small_study, untimed

from recollect.analysis.dynamics import COLUMNS, Dynamics
from recollect.analysis.mixing import mixing_matrices
from recollect.api.run import load
from recollect.errors import UserError
from recollect.studies.events import TrialEnded, TrialRecorded, TrialStarted
from recollect.studies.leases import Leases
from recollect.studies.observations import read_observations, study_observations
from recollect.studies.replay import Request
from recollect.studies.results import (
    TRIAL_COLUMNS,
    cells_frame,
    history_frame,
    observed_trials,
    trials_frame,
)
from recollect.studies.runner import run_study
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.training.config import TrialConfig
from recollect.training.trial import run_trial

pytestmark = pytest.mark.slow

SHORT = TRAIN.replace(eval_every=4)
STEPS = [0, 4, 8]


def a_study(mixers=("attention",), **changes) -> Study:
    return small_study(mixers, **{"train": SHORT} | changes)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        yield opened


def started(events: list) -> list[Request]:
    return [event.request for event in events if isinstance(event, TrialStarted)]


def assert_whole(store: Store) -> None:
    """Every complete trial has what it gives where nothing interrupts it."""
    trials = trials_frame(store, "small")
    complete = trials[trials["status"] == "complete"]["key"]
    assert len(complete)
    for key in complete:
        config = TrialConfig(**store.config(key))
        alone = Dynamics(config)
        model = run_trial(config, observer=alone).model
        seen, found = read_observations(store.observations_path(key))
        for table in COLUMNS:
            pd.testing.assert_frame_equal(
                getattr(seen, table), getattr(alone.observation, table), check_exact=True
            )
        assert torch.equal(found.matrices, alone.attention_map(model).matrices)


def test_observation_is_not_part_of_a_trial():
    plain, observed = a_study(), a_study(observe=True)
    for ours, theirs in zip(observed.cells(), plain.cells(), strict=True):
        assert ours == theirs
        assert ours.key(1e-3, 1) == theirs.key(1e-3, 1)


def test_an_observed_study_keeps_what_was_seen(store: Store):
    run_here(a_study(["attention", "base-conv"], search=RACE, observe=True), store)
    assert_whole(store)
    seen = study_observations(store, "small")
    chosen = observed_trials(store, "small")
    assert sorted(chosen["seed"]) == [1, 1, 2, 2]
    for table in vars(seen.dynamics).values():
        assert set(table["key"]) == set(chosen["key"])
        assert set(TRIAL_COLUMNS) <= set(table)
        assert list(table["step"].unique()) == STEPS
    assert list(seen.trials["mixer"]) == ["attention", "base-conv"]
    assert set(seen.maps) == set(seen.trials["key"])
    assert not list(store.folder.rglob("checkpoint*"))


def test_an_observed_study_has_the_tables_of_an_unobserved_one(store: Store, tmp_path: Path):
    run_here(a_study(search=RACE, observe=True), store)
    with Store(tmp_path / "plain.db") as plain:
        run_here(a_study(search=RACE), plain)
        for frame in (cells_frame, trials_frame, history_frame):
            pd.testing.assert_frame_equal(
                untimed(frame(store, "small")), untimed(frame(plain, "small"))
            )


def test_what_is_missing_is_added_and_gives_the_same(store: Store):
    run_here(a_study(), store)
    before = untimed(trials_frame(store, "small")), untimed(history_frame(store, "small"))
    with pytest.raises(UserError, match=r"no trial of small was observed.*--observe"):
        study_observations(store, "small")
    assert len(started(run_here(a_study(observe=True), store))) == 4
    after = untimed(trials_frame(store, "small")), untimed(history_frame(store, "small"))
    for frame, again in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(frame, again)
    assert_whole(store)
    assert started(run_here(a_study(observe=True), store)) == []
    assert started(run_here(a_study(), store)) == []


def test_a_finished_trial_never_becomes_a_stopped_one(store: Store):
    """A race looks at the first half only of what an unobserved grid has brought to its end."""
    run_here(a_study(search=GRID.replace(rates=(1e-3, 1e-2, 1e-1))), store)
    run_here(a_study(search=RACE, observe=True), store)
    rows = store.rows("SELECT status FROM trials")
    assert {row["status"] for row in rows} == {"complete"}
    assert not observed_trials(store, "small").empty


def test_a_trial_that_was_stopped_unobserved_begins_anew(store: Store):
    def interrupt(event) -> None:
        if isinstance(event, TrialEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(a_study(search=RACE), store, workers=0, device="cpu", on_event=interrupt)
    run_here(a_study(search=RACE, observe=True), store)
    assert_whole(store)


def test_an_interrupted_study_has_neither_holes_nor_repetitions(store: Store):
    """A KeyboardInterrupt at every fourth validation; now and then the study goes on unobserved."""
    interruptions = 0

    def interrupt_after(records: int):
        def on_event(event) -> None:
            nonlocal records
            records -= isinstance(event, TrialRecorded)
            if records < 0:
                raise KeyboardInterrupt

        return on_event

    while True:
        study = a_study(search=RACE, observe=interruptions % 3 != 1)
        try:
            run_study(study, store, workers=0, device="cpu", on_event=interrupt_after(3))
        except KeyboardInterrupt:
            interruptions += 1
        else:
            if study.observe:
                break
            interruptions += 1
    assert interruptions > 3
    assert_whole(store)


def test_a_diverged_trial_needs_no_observations(store: Store):
    run_here(a_study([Diverging], observe=True), store)
    assert started(run_here(a_study([Diverging], observe=True), store)) == []
    assert observed_trials(store, "small").empty


def test_workers_and_populations_observe_too(store: Store, tmp_path: Path):
    study = a_study([Plain], train=SHORT.replace(dtype="float64"), observe=True)
    run_study(study, store, workers=2, device="cpu")
    with Store(tmp_path / "together.db") as together:
        run_here(study, together, population=4)
        ours, theirs = (study_observations(each, "small").dynamics for each in (store, together))
        for table in COLUMNS:
            pd.testing.assert_frame_equal(
                getattr(ours, table), getattr(theirs, table), check_exact=False, rtol=1e-6
            )
    assert_whole(store)


def test_the_map_is_of_the_trained_model(store: Store):
    study = a_study(observe=True)
    run_study(study, store, workers=0, device="cpu", keep_weights=True)
    ((key, found),) = study_observations(store, "small").maps.items()
    config = TrialConfig(**store.config(key))
    inputs = Dynamics(config).examples[0].inputs[:1]
    matrices = mixing_matrices(load(key, store=store.path), inputs)
    for ours, theirs in zip(found.matrices, matrices, strict=True):
        assert torch.equal(ours, theirs[0])
    assert len(found.tokens) == TASK.seq_len


def test_fresh_forgets_observations(store: Store):
    run_here(a_study(observe=True), store)
    run_here(a_study(), store, fresh=True)
    assert not list(store.folder.rglob("*.safetensors"))


def test_a_claim_asks_for_observations_where_they_are_needed(store: Store):
    run_here(a_study(), store)
    (cell,) = a_study().cells()
    with Leases(store) as leases:
        assert not leases.claim(cell, Request(1e-2, 1, None))
        assert not leases.claim(cell, Request(1e-2, 1, 4), observe=True), "the search needs no more"
        assert leases.claim(cell, Request(1e-2, 1, None), observe=True)
