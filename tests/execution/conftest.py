"""A Ray cluster of two nodes on this machine, started once for all tests that need it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from two_nodes import TwoNodes


@pytest.fixture(scope="session")
def cluster() -> Iterator[TwoNodes]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # no port beyond this machine
    import ray

    # the cluster of the tests writes its address there, but makes only its own folder
    Path("/tmp/ray").mkdir(exist_ok=True)
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets must be short
    try:
        found = TwoNodes(folder)
        ray.init(address=found.cluster.address, log_to_driver=False, logging_level="error")
    except Exception as error:
        pytest.fail(f"Ray does not start on this machine, it may be too busy: {error}")
    yield found
    ray.shutdown()
    found.cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def two_nodes(cluster: TwoNodes) -> TwoNodes:
    cluster.add()
    cluster.check()
    return cluster
