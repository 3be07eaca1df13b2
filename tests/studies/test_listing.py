"""What a study consists of, run as a whole and in parts, and what it had before."""

from pathlib import Path

import pytest
from small import GRID, TASK, Plain, run_here, small_study

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.studies.cell import Cell
from recollect.studies.grid import models_grid
from recollect.studies.listing import difference
from recollect.studies.narrow import narrow, override, whole_cells
from recollect.studies.results import cells_frame, former_frame
from recollect.studies.search import BestRateSearch, FixedGrid
from recollect.studies.store import Store
from recollect.studies.study import Study

STUDY = small_study()
CELL, OTHER = STUDY.cells()


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "results.db") as opened:
        yield opened


def record(store: Store, study: Study, whole: Study | None = None) -> tuple[Cell, ...]:
    cells = None if whole is None else whole.cells()
    store.record_study("s", "settings", study.cells(), cells)
    return store.cells("s")


def with_results(store: Store, *cells: Cell) -> None:
    """A stored failure is one, and quickly made."""
    from recollect.execution.failure import Failure

    for cell in cells:
        store.save_failure(cell, 1e-3, 1, Failure("made up"), "cpu")


def test_a_study_run_in_parts_lists_all_of_them_in_its_own_order(store: Store):
    assert record(store, narrow(STUDY, mixers=["base-conv"]), STUDY) == (OTHER,)
    assert record(store, narrow(STUDY, mixers=["attention"]), STUDY) == (CELL, OTHER)
    assert store.studies() == ["s"]


@pytest.mark.parametrize(
    "later",
    [
        small_study(["attention"]),
        small_study(["attention", Plain]),
        small_study(
            models=models_grid(["attention", mixer("base-conv", kernel_size=3)], d_model=[8])
        ),
        small_study(
            models=(*small_study(["attention"]).models, *models_grid(["base-conv"], d_model=[16]))
        ),
    ],
)
def test_a_study_that_lost_a_mixer_or_a_width_lists_what_it_has(store: Store, later: Study):
    record(store, STUDY)
    with_results(store, CELL, OTHER)
    assert record(store, later) == later.cells()
    assert store.former_cells("s") == (OTHER,)
    assert len(store.trials(OTHER)) == 1, "trials are never deleted"
    assert record(store, STUDY) == (CELL, OTHER)
    assert OTHER not in store.former_cells("s")


@pytest.mark.parametrize(
    "later",
    [
        small_study(models=models_grid(["attention", "base-conv"], d_model=[8], mlp="gelu")),
        small_study(train=STUDY.train.replace(steps=10)),
        small_study(search=FixedGrid(rates=(1e-3,))),
        small_study(seeds=(7, 8)),
        small_study(tasks=(TASK.replace(seq_len=24),)),
        small_study(test_tasks=(TASK.replace(seq_len=24),)),
        small_study(train_overrides={TASK.label: {"batch_size": 4}}),
    ],
)
def test_a_study_with_another_recipe_begins_its_list_anew(store: Store, later: Study):
    record(store, STUDY)
    with_results(store, CELL, OTHER)
    part = narrow(later, mixers=["base-conv"])
    assert record(store, part, later) == part.cells(), "the other is not what it was"
    assert store.former_cells("s") == (CELL, OTHER)


def test_a_cell_without_results_is_not_kept(store: Store):
    record(store, STUDY)
    record(store, small_study(["attention"]))
    assert store.former_cells("s") == ()


def test_fewer_seeds_make_no_other_study(store: Store):
    record(store, STUDY)
    with_results(store, CELL, OTHER)
    few = narrow(STUDY, mixers=["attention"], seeds=1)
    assert record(store, few, STUDY) == (few.cells()[0], OTHER)
    assert record(store, STUDY) == (CELL, OTHER)
    assert store.former_cells("s") == ()


def with_layer(cell: Cell, **changes: object) -> Cell:
    model = cell.template["model"]
    layers = [layer | changes for layer in model["mixer"]]
    return cell.replace(template=cell.template | {"model": model | {"mixer": layers}})


def old_version(cell: Cell) -> Cell:
    """A cell as it was with another version of its mixer."""
    return with_layer(cell, source="0123")


def test_a_cell_of_another_version_stays_until_it_is_run_again(store: Store):
    before = [old_version(CELL), old_version(OTHER)]
    store.record_study("s", "settings", before)
    with_results(store, *before)
    part = narrow(STUDY, mixers=["attention"])
    assert record(store, part, STUDY) == (CELL, before[1])
    assert store.former_cells("s") == (before[0],)
    assert record(store, STUDY) == (CELL, OTHER)
    assert list(store.former_cells("s")) == before


def test_differences_in_words():
    assert difference(CELL, None) == "not in the study"
    assert difference(CELL, CELL.replace(seeds=(3,))) == "seeds=1,2 (3)"
    assert difference(old_version(CELL), CELL) == "another version of the mixer of attention"
    assert difference(CELL.replace(numerics=99), CELL) == "another version of the trainer"
    other_search = CELL.replace(search=BestRateSearch(), seeds=(3,))
    assert difference(CELL, other_search) == "seeds=1,2 (3); search=FixedGrid (BestRateSearch)"
    one, other = (with_layer(CELL, options={"source": value}) for value in ("a", "b"))
    assert difference(one, other) == "model.mixer.0.options.source=a (b)", "an option of its own"
    (longer, _) = small_study(train=STUDY.train.replace(steps=10)).cells()
    assert difference(longer, CELL) == "train.steps=10 (8)"
    (searched, _) = small_study(search=FixedGrid(rates=(1e-3,))).cells()
    assert difference(searched, CELL) == "search.rates=[0.001] ([0.001, 0.01])"
    (many, _) = small_study(
        train=STUDY.train.replace(steps=10, batch_size=9, eval_every=5, weight_decay=0.5)
    ).cells()
    assert difference(many, CELL).endswith("and 1 more")


def test_former_cells_have_a_table(store: Store):
    run_here(STUDY, store)
    run_here(small_study(["attention"]), store)
    (row,) = former_frame(store, "small").to_dict(orient="records")
    assert (row["mixer"], row["trials"], row["difference"]) == ("base-conv", 4, "not in the study")
    assert cells_frame(store, "small")["mixer"].tolist() == ["attention"]
    assert former_frame(store, "small").columns[0] == "study"
    run_here(STUDY, store)
    assert former_frame(store, "small").empty


def test_a_study_is_looked_at_by_its_own_cells_too(store: Store):
    run_here(STUDY, store)
    run_here(small_study(["attention"]), store)
    assert cells_frame(store, STUDY)["finished"].tolist() == [True, True]
    absent = cells_frame(store, small_study([Plain]))
    assert absent["finished"].tolist() == [False]


def test_the_whole_of_a_part_has_the_same_values_set():
    settings = ["train.steps=6", "model.mlp=gelu"]
    part = override(narrow(STUDY, mixers=["attention"]), settings)
    whole = whole_cells(STUDY, part, settings)
    assert [cell.mixer for cell in whole] == ["attention", "base-conv"]
    assert part.cells() == whole[:1]


def test_values_that_fit_a_part_alone_make_it_a_study_of_its_own():
    """Both tasks of one length would have one label."""
    study = small_study(tasks=(TASK, TASK.replace(seq_len=24)))
    part = override(narrow(study, tasks=[TASK.label]), ["seq_len=32"])
    with pytest.raises(UserError):
        override(study, ["seq_len=32"])
    assert whole_cells(study, part, ["seq_len=32"]) == part.cells()


@pytest.mark.parametrize("name", ["a/b/../c", "..", 'x y: 北京 "q" [red]', "x" * 200, "-"])
def test_names_that_are_a_line(store: Store, name: str):
    study = small_study(["attention"], name=name, search=GRID, seeds=(1,))
    run_here(study, store)
    assert cells_frame(store, name)["study"].tolist() == [name]


@pytest.mark.parametrize("name", ["two\nlines", "x" * 201, " ", "a\0b", "end ", "\t"])
def test_names_that_are_none(name: str):
    with pytest.raises(UserError, match="expected one line of at most 200"):
        small_study(name=name)
