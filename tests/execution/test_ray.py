"""A study on a Ray cluster whose nodes come and go."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from behaving import Plain
from test_executors import RACE, TASK, TRAIN, a_job
from two_nodes import TwoNodes

from recollect.errors import FatalError, UserError
from recollect.execution import ray_cluster, ray_executor
from recollect.execution.executor import EXECUTORS, Placement
from recollect.studies.events import TrialEnded, TrialRaised, TrialRecorded
from recollect.studies.grid import models_grid
from recollect.studies.results import cells_frame, history_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.store import Store
from recollect.studies.study import Study

pytestmark = pytest.mark.slow

STUDY = Study(
    "small",
    tasks=[TASK],
    models=models_grid([Plain, "attention"], d_model=[8]),
    train=TRAIN.replace(steps=80, eval_every=4),
    search=RACE,
    seeds=(1, 2),
)
ON_CPU = Placement(devices=("cpu",), workers=0, population=0)
SECONDS = 60.0


def outcome(executor, job) -> object:
    """What comes of a job."""
    executor.submit(job)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for _, found in executor.wait(0.1):
            return found
    return None


def test_a_study_one_of_whose_nodes_is_killed_ends_with_the_same_table(
    two_nodes: TwoNodes, tmp_path: Path
):
    events: list = []
    killed: list[int] = []

    def on_event(event) -> None:
        events.append(event)
        if not killed and sum(isinstance(e, TrialRecorded) for e in events) > 30:
            killed.append(len(events))
            two_nodes.kill()

    with Store(tmp_path / "one.db") as one, Store(tmp_path / "ray.db") as ray:
        run_study(STUDY, one, workers=0, device="cpu")
        run_study(STUDY, ray, on="ray", device="cpu", on_event=on_event)
        for frame in (cells_frame, trials_frame, history_frame):
            ours, theirs = (
                frame(store, "small").drop(columns=["seconds", "device"], errors="ignore")
                for store in (ray, one)
            )
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    raised = [event for event in events if isinstance(event, TrialRaised)]
    assert raised, "the node had trials"
    assert all(event.again and "its node was lost" in event.message for event in raised)
    ended = [(e.cell.label, e.request) for e in events if isinstance(e, TrialEnded)]
    assert len(ended) == len(set(ended)), "nothing is run twice to its end"


def test_a_node_that_joins_is_used(two_nodes: TwoNodes):
    two_nodes.kill()
    with EXECUTORS["ray"](ON_CPU, lambda *_: None) as executor:
        end = time.monotonic() + SECONDS
        while executor.free > 2 and time.monotonic() < end:
            time.sleep(0.1)
        assert executor.free == 2
        two_nodes.add()
        while executor.free < 4 and time.monotonic() < end:
            time.sleep(0.1)
        assert executor.free == 4


def test_a_node_with_other_versions_is_refused(two_nodes: TwoNodes, tmp_path: Path, monkeypatch):
    ours = {**ray_executor.versions(), "torch": "1.0.0"}
    monkeypatch.setattr(ray_executor, "versions", lambda: ours)
    with EXECUTORS["ray"](ON_CPU, lambda *_: None) as executor:
        found = outcome(executor, a_job(Plain, tmp_path))
    assert isinstance(found, FatalError)
    there = torch.__version__.partition("+")[0]
    assert f"the node {os.uname().nodename} has torch {there}" in str(found)
    assert "the machine that runs the study has 1.0.0" in str(found)


def test_a_node_that_does_not_see_the_folder_of_artifacts_is_refused(
    two_nodes: TwoNodes, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = Path("/proc/self/cwd/artifacts")  # another folder for each process
    with EXECUTORS["ray"](ON_CPU, lambda *_: None) as executor:
        found = outcome(executor, a_job(Plain, folder))
    assert isinstance(found, FatalError)
    assert f"does not see the folder {folder}" in str(found)
    assert "--artifacts URL" in str(found)
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement(devices=("cuda",), workers=0, population=0), "has no GPU"),
        (Placement(options={"gpus_per_job": "2"}), "gpus_per_job=2: expected a fraction"),
    ],
)
def test_what_the_cluster_cannot_do_is_said(two_nodes: TwoNodes, placement, message: str):
    with pytest.raises(UserError, match=message), EXECUTORS["ray"](placement, lambda *_: None):
        pass


def in_another_process(script: str) -> str:
    """What a script prints that is connected to no cluster yet."""
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=SECONDS
    ).stdout


SLOW_START = """
import ray
from recollect.execution import ray_cluster

def init(**options):
    attempts.append(options)
    raise RuntimeError("The current node timed out during startup.")

attempts, ray.init, ray_cluster.PAUSE_SECONDS = [], init, 0
try:
    ray_cluster.Cluster("local", 1, 0).__enter__()
except ValueError as error:
    print(len(attempts), error)
"""


def test_a_start_that_exceeds_rays_limits_is_tried_twice_and_says_what_to_look_at():
    printed = in_another_process(SLOW_START)
    assert printed.startswith(
        "2 Ray did not start on this machine in two attempts: The current node"
    )
    (logs,) = (Path(word) for word in printed.split() if word.startswith("/"))
    assert logs.name == "logs"
    assert logs.parents[1].is_dir(), "what Ray wrote stays"
    shutil.rmtree(logs.parents[1])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_an_address_where_no_cluster_is_is_said_at_once(address: str):
    printed = in_another_process(
        "from recollect.execution.ray_cluster import Cluster\n"
        f"try:\n    Cluster({address!r}, 1, 0).__enter__()\n"
        "except ValueError as error:\n    print(error)"
    )
    assert printed.startswith(
        f"no Ray cluster answers at {address}: expected the address of its head"
    )


def test_a_head_that_has_gone_away_ends_the_run(two_nodes: TwoNodes, monkeypatch):
    with EXECUTORS["ray"](ON_CPU, lambda *_: None) as executor:
        monkeypatch.setattr(ray_cluster, "_answers", lambda _address: False)
        monkeypatch.setattr(ray_cluster, "HEAD_SECONDS", 0.5)
        ended = (list(executor.wait(0.1)) for _ in range(600))
        with pytest.raises(
            FatalError, match=r"head of the Ray cluster at .* does not answer any more"
        ):
            assert not any(ended)
