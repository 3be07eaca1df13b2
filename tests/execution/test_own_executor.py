"""The example of an executor in docs/cluster.md runs a study, and gives its table."""

import re
import sys
from concurrent.futures import Executor, Future
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from behaving import Raising
from test_executors import STUDY

from recollect.execution.executor import EXECUTORS
from recollect.studies.grid import models_grid
from recollect.studies.results import cells_frame
from recollect.studies.runner import run_study
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"


class InThisProcess(Executor):
    """Runs what is submitted at once, so that the test need not start processes."""

    def __init__(self, *_: object) -> None:
        self.is_shut = False

    def submit(self, function, *words):
        future: Future = Future()
        future.set_result(function(*words))
        return future

    def shutdown(self, **_: object) -> None:
        self.is_shut = True


def test_the_example_runs_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    (tmp_path / "futures_executor.py").write_text(example)
    monkeypatch.setattr(EXECUTORS, "_entries", {name: EXECUTORS[name] for name in EXECUTORS})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", InThisProcess)
    import_module("futures_executor")
    monkeypatch.delitem(sys.modules, "futures_executor")
    study = STUDY.replace(
        models=models_grid(["attention", Raising], d_model=[8], n_layers=[1]),
        search=FixedGrid(rates=(1e-3, 1e-2)),
    )
    with Store(tmp_path / "one.db") as one, Store(tmp_path / "own.db") as own:
        failed = run_study(study, one, workers=0, device="cpu")
        assert run_study(study, own, on="futures", workers=2, device="cpu") == failed > 0
        ours, theirs = (
            cells_frame(store, study.name).drop(columns="seconds") for store in (own, one)
        )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
