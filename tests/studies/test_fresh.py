"""Starting a study afresh: it loses its own trials, and no other study does."""

from pathlib import Path

import pytest
from small import GRID, run_here, small_study

from recollect.errors import UserError
from recollect.execution.artifacts import CHECKPOINT
from recollect.studies.events import TrialStarted
from recollect.studies.leases import Leases
from recollect.studies.replay import Request
from recollect.studies.results import trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store

ONE = small_study(["attention"], search=GRID)
OTHER = ONE.replace(name="other", search=FixedGrid(rates=(3e-3,)))
"""A study of the same cell, at another rate."""


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        run_here(ONE, opened)
        run_here(OTHER, opened)
        yield opened


def test_trials_of_another_study_stay(store: Store):
    events = run_here(ONE, store, fresh=True)
    assert sum(isinstance(event, TrialStarted) for event in events) == 4
    assert run_here(OTHER, store)[1:] == []


def test_a_trial_that_another_study_looks_at_is_not_forgotten(store: Store):
    shared = ONE.replace(name="shared", search=FixedGrid(rates=(1e-2, 1e-1)), seeds=(1,))
    run_here(shared, store)
    before = store.rows("SELECT * FROM trials ORDER BY key")
    with pytest.raises(UserError, match=r"small afresh: .* shared .* 1 of its 4 .* another store"):
        run_study(ONE, store, workers=0, device="cpu", fresh=True)
    assert store.rows("SELECT * FROM trials ORDER BY key") == before


def test_nothing_is_forgotten_where_another_run_works_on_a_cell(tmp_path: Path):
    study = small_study()
    with Store(tmp_path / "results.db") as store, Leases(store) as theirs:
        run_here(study, store)
        theirs.claim(study.cells()[1], Request(1e-1, 7, None))
        with pytest.raises(UserError, match="end that first"):
            run_study(study, store, workers=0, device="cpu", fresh=True)
        assert len(trials_frame(store, "small")) == 8


def test_a_trial_whose_worker_is_lost_goes_on_after_a_fresh_start(tmp_path: Path):
    """Files from before the fresh start are removed once, not those of the trial since."""
    study = small_study(["attention"])
    (cell,) = study.cells()
    request = Request(GRID.rates[0], 1, None)
    with Store(tmp_path / "a.db") as store, Leases(store) as leases:
        leases.forget("small", [cell], [cell])
        slot = store.artifacts.slot(cell.key(GRID.rates[0], 1), CHECKPOINT)
        kept = []
        for _ in range(2):
            with slot.writing() as path:
                path.write_text("steps")
            assert leases.claim(cell, request)
            leases.give_up(cell.key(GRID.rates[0], 1))
            kept.append(slot.exists())
    assert kept == [False, True]
