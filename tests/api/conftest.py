"""A study of the user's that was run from Python."""

import pytest
from quick import quick_study

import recollect as rc


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """Whatever the terminal of the tests is."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> rc.Results:
    return rc.run(
        quick_study(),
        store=tmp_path_factory.mktemp("api") / "new" / "results.db",
        workers=0,
        device="cpu",
        keep_weights=True,
        progress=False,
    )
