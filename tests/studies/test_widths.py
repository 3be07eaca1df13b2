"""A wide cell begins with the rate of the next narrower one."""

from pathlib import Path

import pandas as pd
import pytest
from searching import EVERY, STEPS, Curves
from small import RACE, TASK, TRAIN, run_here, small_study, untimed

from recollect.studies.cell import Cell
from recollect.studies.events import CellDone, TrialEnded, TrialStarted
from recollect.studies.grid import models_grid
from recollect.studies.narrow import narrow
from recollect.studies.replay import Progress, Trial
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import BestRateSearch, LearningRateSearch
from recollect.studies.store import Store
from recollect.studies.widths import narrower, plans, unsettled
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

pytestmark = pytest.mark.slow

LEARNS = TrainConfig(
    steps=60, batch_size=32, eval_every=20, valid_examples=100, test_examples=16, warmup=0.0
)
EASY = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        yield opened


def wide_study(**changes):
    models = models_grid(["attention", "base-conv"], d_model=[16, 8, 12])
    return small_study(models=models, search=RACE, **changes)


def test_neighbours_differ_in_width_alone():
    cells = {cell.label: cell for cell in wide_study(tasks=(TASK, EASY)).cells()}
    pairs = {(label, narrow.label) for label, narrow in narrower(cells.values()).items()}
    assert len(pairs) == 2 * 2 * 2
    for label, other in pairs:
        wide, less = cells[label], cells[other]
        assert (wide.task, wide.mixer) == (less.task, less.mixer)
        assert (less.d_model, wide.d_model) in [(8, 12), (12, 16)]


def test_fixed_grids_have_none():
    assert narrower(small_study(models=models_grid(["attention"], d_model=[8, 16])).cells()) == {}


def test_a_wide_cell_waits_for_the_narrow_one(store: Store):
    events = run_here(wide_study(), store)
    done: set[tuple[str, int]] = set()
    before = {12: 8, 16: 12}
    for event in events:
        if isinstance(event, TrialStarted) and event.cell.d_model in before:
            assert (event.cell.mixer, before[event.cell.d_model]) in done
        if isinstance(event, CellDone):
            done.add((event.cell.mixer, event.cell.d_model))
    assert len(done) == 6
    table = cells_frame(store, "small")
    assert table["finished"].all()
    assert list(table["d_model"]) == [16, 8, 12] * 2, "the order of the study"
    assert run_here(wide_study(), store)[1:] == []


def test_the_table_does_not_depend_on_parts_run_before(store: Store, tmp_path: Path):
    for widths in ([8], [16], [12]):
        run_here(narrow(wide_study(), widths=widths), store, whole=wide_study().cells())
    run_here(wide_study(), store)
    with Store(tmp_path / "at-once.db") as other:
        run_here(wide_study(), other)
        for frame in (cells_frame, trials_frame):
            pd.testing.assert_frame_equal(
                untimed(frame(store, "small")), untimed(frame(other, "small"))
            )


def test_a_part_without_the_narrow_cell_begins_with_the_whole_grid(store: Store):
    run_here(narrow(wide_study(), widths=[16]), store, whole=wide_study().cells())
    assert cells_frame(store, "small")["finished"].all()


def test_a_wide_cell_is_planned_anew_when_a_narrow_one_comes_later():
    """Its rate is one that the wide cell, which began with the whole grid, has stopped early."""
    study = small_study(
        models=models_grid(["attention"], d_model=[8, 16]),
        train=TRAIN.replace(steps=STEPS, eval_every=EVERY),
        search=BestRateSearch(low=1e-4, high=1.0, per_decade=1, search_seeds=0),
    )
    narrow_cell, wide = study.cells()

    def finished(best: float, cell: Cell) -> dict[Trial, Progress]:
        landscape = Curves(curve=lambda rate, _: (0.1 if rate == best else 0.9, 1.0))
        trials: dict[Trial, Progress] = {}
        while requests := cell.plan(trials).requests:
            for rate, seed, until in ((r.learning_rate, r.seed, r.until) for r in requests):
                trials[rate, seed] = landscape.trial(rate, seed, until)
        return trials

    stored = {wide.label: finished(1e-1, wide), narrow_cell.label: finished(1e-3, narrow_cell)}
    cells, ran = study.cells(), {narrow_cell.label}
    assert unsettled(cells, ran, stored) == [wide]
    assert not plans(cells, stored)[wide.label].done


def test_a_wide_cell_that_was_begun_is_left_alone(store: Store):
    def interrupt(event) -> None:
        if isinstance(event, TrialEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(
            narrow(wide_study(), widths=[16]),
            store,
            workers=0,
            device="cpu",
            whole=wide_study().cells(),
            on_event=interrupt,
        )
    events = run_here(narrow(wide_study(), widths=[8]), store, whole=wide_study().cells())
    assert {event.cell.d_model for event in events if isinstance(event, TrialStarted)} == {8}


def test_what_a_narrow_cell_learned_narrows_the_race(store: Store):
    study = small_study(
        tasks=(EASY,),
        models=models_grid(["input-dependent-conv"], d_model=[8, 16]),
        train=LEARNS,
        search=LearningRateSearch(low=1e-4, high=1.0, per_decade=1, rungs=(), refine=0),
        seeds=(1,),
    )
    events = run_here(study, store)
    table = cells_frame(store, "small")
    assert table["finished"].all()
    assert table["valid_accuracy"][0] > 0.6, "beyond the plateau"
    raced = {
        width: [
            event.request.learning_rate
            for event in events
            if isinstance(event, TrialStarted) and event.cell.d_model == width
        ]
        for width in (8, 16)
    }
    assert set(raced[8][:5]) == {1e-4, 1e-3, 1e-2, 1e-1, 1.0}
    chosen = table["learning_rate"][0]
    near = {rate for rate in raced[8][:5] if 0.05 < rate / chosen < 20}
    assert set(raced[16][: len(near)]) == near, "before all others"
    assert 2 <= len(near) <= 3
