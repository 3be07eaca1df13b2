"""Parts of a study, run apart and merged."""

from pathlib import Path

import pandas as pd
import pytest
from small import RACE, TASK, run_here, small_study, untimed

from recollect.errors import UserError
from recollect.studies.cell_rows import CELL_COLUMNS
from recollect.studies.grid import models_grid
from recollect.studies.part import Part
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store
from recollect.studies.transfer import merge
from recollect.studies.widths import narrower
from recollect.tasks.mqar import MQAR

pytestmark = pytest.mark.slow

STUDY = small_study(
    tasks=[TASK, MQAR(seq_len=8, num_kv_pairs=1, vocab_size=64)],
    models=models_grid(["attention", "base-conv"], d_model=[4, 8], n_layers=[1]),
    search=RACE,
    seeds=[1],
)
CELLS = STUDY.cells()


def parts(count: int) -> list[set[str]]:
    return [{cell.label for cell in Part(i, count).of(CELLS)} for i in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_cell_is_in_one_part_with_those_whose_rate_it_begins_at(count: int):
    found = parts(count)
    assert sum(map(len, found)) == len(CELLS)
    assert set().union(*found) == {cell.label for cell in CELLS}
    for wide, narrow in narrower(CELLS).items():
        assert [wide in part for part in found] == [narrow.label in part for part in found]


def test_parts_are_alike_in_size():
    assert [len(part) for part in parts(2)] == [4, 4]
    assert [len(part) for part in parts(4)] == [2, 2, 2, 2]


def test_there_are_no_more_parts_than_groups_of_cells():
    with pytest.raises(UserError, match=r"4 groups of cells.*use at most 4 parts"):
        Part(1, 5).of(CELLS)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/2/3", "-1/2", ""])
def test_a_part_that_is_none_is_refused(text: str):
    with pytest.raises(UserError, match="expected i/n, such as 1/8"):
        Part.parse(text)


def test_the_stores_of_all_parts_merge_to_the_table_of_one_run(tmp_path: Path):
    with Store(tmp_path / "whole.db") as whole, Store(tmp_path / "part-1.db") as first:
        run_here(STUDY, whole)
        for number in (1, 2, 3):
            with Store(tmp_path / f"part-{number}.db") as store:
                run_here(STUDY, store, part=Part.parse(f"{number}/3"))
                assert {cell.label for cell in store.cells("small")} == parts(3)[number - 1]
        for number in (2, 3):
            assert not merge(first, tmp_path / f"part-{number}.db").differences
        for frame in (cells_frame, trials_frame):
            merged, one = (
                untimed(frame(store, "small")).sort_values([*CELL_COLUMNS], kind="stable")
                for store in (first, whole)
            )
            pd.testing.assert_frame_equal(
                merged.reset_index(drop=True), one.reset_index(drop=True), check_exact=True
            )


def test_a_part_goes_on_in_the_store_of_another(tmp_path: Path):
    with Store(tmp_path / "results.db") as store:
        run_here(STUDY, store, part=Part(1, 2))
        run_here(STUDY, store, part=Part(2, 2))
        assert store.cells("small") == CELLS
