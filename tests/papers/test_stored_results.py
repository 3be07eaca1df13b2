"""The results that the repository carries are of this version."""

import shutil
from pathlib import Path

import pytest

from recollect.studies.results import cells_frame
from recollect.studies.shipped import STUDIES
from recollect.studies.store import Store

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.db")), ids=lambda path: path.stem)
def test_stored_cells_are_those_of_this_version(path, tmp_path):
    """After a change of numerics the page would show results that nobody can repeat: run the study
    on the store again."""
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    study = STUDIES[path.stem]("laptop")
    with Store(copy) as store:
        assert store.studies() == [path.stem]
        stored = {cell.id for cell in store.cells(path.stem)}
        assert stored == {cell.id for cell in study.cells()}
        assert cells_frame(store, study)["finished"].any()
