import pytest
from page_store import make_store


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A store with the made-up study; tests leave it as it is."""
    path = tmp_path_factory.mktemp("made") / "made.db"
    make_store(path)
    return path
