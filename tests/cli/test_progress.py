"""What a run says of its cells."""

import io

import pytest
from rich.console import Console
from tiny_study import tiny

from recollect.reports.progress import LogDisplay
from recollect.studies.events import CellDone


@pytest.mark.parametrize(
    ("learnt", "said"),
    [
        (True, "tuned to 1e-2, validation accuracy 0.910"),
        (False, "not learnt in 4 steps at rates 1e-4 to 1e-1 (validation accuracy 0.910)"),
    ],
)
def test_a_cell_that_is_done(learnt, said):
    out = io.StringIO()
    cell = tiny(["attention"]).cells()[0]
    done = CellDone(cell, 1e-2, 0.91, learnt, 0, (1e-4, 1e-1), done=1, cells=2, failed=3)
    LogDisplay(Console(file=out, width=200)).show(done)
    assert f"{cell.label}: {said}, 3 trials failed (" in out.getvalue()
