import pytest
from typed import STUDY, typed


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """A store with the finished tiny study; tests leave it as it is."""
    path = tmp_path_factory.mktemp("stored") / "tiny.db"
    assert typed("run", STUDY, "--store", path, "--workers", 0, "--device", "cpu").code == 0
    return path
