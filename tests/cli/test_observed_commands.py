"""`recollect run --observe`, and the figures that need it."""

import shutil

import matplotlib.image
import pytest
from typed import STUDY, typed

from recollect.reports.kinds import KINDS, OBSERVED
from recollect.studies.results import cells_frame
from recollect.studies.store import Store

pytestmark = pytest.mark.slow

RUN = ["run", STUDY, "--workers", 0, "--device", "cpu", "--observe", "--widths", 8]


@pytest.fixture(scope="module")
def observed(stored, tmp_path_factory):
    """A copy of the finished store, one width of which was observed afterwards."""
    path = shutil.copy(stored, tmp_path_factory.mktemp("observed") / "tiny.db")
    answer = typed(*RUN, "--store", path)
    assert "8 trials" in answer.err, "the stored ones are run again"
    return path


@pytest.mark.parametrize("kind", OBSERVED)
def test_every_kind_is_drawn(observed, kind, tmp_path):
    path = tmp_path / "figure.png"
    answer = typed("plot", "--store", observed, "--kind", kind, "--out", path)
    assert (answer.code, answer.err) == (0, f"wrote {path}\n")
    assert matplotlib.image.imread(path)[..., :3].std() > 0.03


def test_what_is_observed_is_drawn_without_being_asked_for(observed, tmp_path):
    assert typed("plot", "--store", observed, "--out", tmp_path).code == 0
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {*KINDS, *OBSERVED}


def test_observing_changes_no_result_and_is_done_once(observed, stored):
    with Store(observed) as ours, Store(stored) as theirs:
        columns = ["mixer", "d_model", "learning_rate", "test_accuracy", "steps"]
        assert cells_frame(ours, "tiny")[columns].equals(cells_frame(theirs, "tiny")[columns])
    assert "trial" not in typed(*RUN, "--store", observed).err.replace("0 trials", "")


@pytest.mark.parametrize("kind", OBSERVED)
def test_a_study_that_was_not_observed_is_a_user_error(stored, kind, tmp_path):
    answer = typed("plot", "--store", stored, "--kind", kind, "--out", tmp_path / "figure.pdf")
    assert answer.code != 0
    assert "no trial of tiny was observed in training: run it with --observe" in answer.err
    assert list(tmp_path.iterdir()) == []
