"""What every executor does alike, wherever its jobs run."""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from behaving import Mined, Plain, Raising, Signing

from recollect.execution.executor import EXECUTORS, Executor, MakeExecutor, Placement
from recollect.execution.failure import TrialFailed, WorkerLost
from recollect.execution.job import Job, Outcome
from recollect.mixers.catalogue import MixerSpec, mixer
from recollect.models.config import ModelConfig
from recollect.studies.events import TrialEnded, TrialRecorded
from recollect.studies.grid import models_grid
from recollect.studies.process import identify
from recollect.studies.results import cells_frame, history_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import LearningRateSearch
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import Seeds, TrainConfig, TrialConfig

pytestmark = pytest.mark.slow

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
TRAIN = TrainConfig(steps=8, batch_size=8, eval_every=2, valid_examples=16, test_examples=16)
RACE = LearningRateSearch(low=1e-3, high=1e-1, per_decade=1, rungs=(0.5,), refine=0, search_seeds=0)
STUDY = Study(
    "small",
    tasks=[TASK],
    models=models_grid([Plain, "attention"], d_model=[8]),
    train=TRAIN,
    search=RACE,
    seeds=(1, 2),
)
SECONDS = 60.0
"""No job here takes so long on any machine."""


@dataclass(frozen=True)
class Case:
    """How an executor is tested.

    Attributes:
        placement: what it is given.
        apart: whether its jobs run in other processes.
    """

    placement: Placement
    apart: bool


CASES = {
    "processes": Case(Placement(devices=("cpu",), workers=2, population=1), apart=True),
    "population": Case(Placement(devices=("cpu",), workers=0, population=1), apart=False),
    "ray": Case(Placement(devices=("cpu",), workers=2, population=1), apart=True),
}
APART = [name for name, case in CASES.items() if case.apart]


def test_every_executor_is_tested():
    assert EXECUTORS.names() == sorted(CASES)


@dataclass
class Opened:
    """An executor that takes jobs, and the steps at which each was validated."""

    executor: Executor
    steps: dict[str, list[int]]
    folder: Path

    def outcomes(self, *jobs: Job) -> dict[str, object]:
        """What comes of some jobs, by key."""
        for job in jobs:
            self.steps.pop(job.key, None)
        waiting, found = list(jobs), {}
        end = time.monotonic() + SECONDS
        while len(found) < len(jobs) and time.monotonic() < end:
            while waiting and self.executor.free:
                self.executor.submit(waiting.pop(0))
            found |= {job.key: outcome for job, outcome in self.executor.wait(0.1)}
        return found

    def job(self, kind: type | MixerSpec, seed: int = 1, **changes) -> Job:
        return a_job(kind, self.folder, seed, **changes)


def a_job(kind: type | MixerSpec, folder: Path, seed: int = 1, steps: int = 8, until=None) -> Job:
    config = TrialConfig(
        task=TASK,
        model=ModelConfig(mixer=kind, d_model=8, n_layers=1),
        train=TRAIN.replace(steps=steps),
        seeds=Seeds.of(seed),
    )
    return Job.of(
        config.key,
        f"trial {seed}",
        config.model_dump(mode="json"),
        until=until,
        keep=frozenset(),
        artifacts=str(folder),
    )


def maker(name: str, request: pytest.FixtureRequest) -> MakeExecutor:
    """An executor's class or function; with a cluster that it can connect to."""
    if name == "ray":
        request.getfixturevalue("cluster")
    return EXECUTORS[name]


@pytest.fixture(scope="module", params=CASES)
def opened(request, tmp_path_factory) -> Iterator[Opened]:
    steps: dict[str, list[int]] = {}
    make = maker(request.param, request)
    with make(
        CASES[request.param].placement,
        lambda job, record: steps.setdefault(job.key, []).append(record.step),
    ) as executor:
        yield Opened(executor, steps, tmp_path_factory.mktemp("artifacts"))


def test_a_record_is_reported_at_every_validation(opened: Opened):
    job = opened.job(Plain)
    result = opened.outcomes(job)[job.key]
    assert opened.steps[job.key] == [2, 4, 6, 8]
    assert (result.key, result.status, result.model) == (job.key, "complete", None)
    assert [record.step for record in result.history] == [2, 4, 6, 8]


def test_a_stopped_job_goes_on_where_it_was(opened: Opened):
    stopped, whole = opened.job(Plain, seed=2, until=4), opened.job(Plain, seed=2)
    assert opened.outcomes(stopped)[stopped.key].status == "stopped"
    result = opened.outcomes(whole)[whole.key]
    assert opened.steps[whole.key] == [6, 8]
    assert [record.step for record in result.history] == [2, 4, 6, 8]


@pytest.mark.filterwarnings("ignore:.*one at a time")
def test_a_job_that_raises_is_a_failed_outcome_and_the_others_go_on(opened: Opened):
    bad, good = opened.job(Raising), opened.job(Plain, seed=3)
    found = opened.outcomes(bad, good)
    assert isinstance(found[bad.key], TrialFailed)
    assert not isinstance(found[bad.key], WorkerLost)
    assert found[bad.key].failure.message == "ZeroDivisionError: a bug of the mixer"
    assert found[bad.key].failure.traceback.endswith("ZeroDivisionError: a bug of the mixer")
    assert found[good.key].status == "complete"


@pytest.mark.parametrize("opened", APART, indirect=True)
def test_a_job_whose_worker_is_killed_goes_on_at_its_checkpoint(opened: Opened, tmp_path: Path):
    mine = tmp_path / "mine"
    kind = mixer(Mined, mine=str(mine))
    stopped, whole = opened.job(kind, until=4), opened.job(kind)
    assert opened.outcomes(stopped)[stopped.key].status == "stopped"
    mine.touch()
    assert isinstance(opened.outcomes(whole)[whole.key], WorkerLost)
    result = opened.outcomes(whole)[whole.key]
    assert opened.steps[whole.key] == [6, 8]
    assert [record.step for record in result.history] == [2, 4, 6, 8]


@pytest.mark.parametrize("name", APART)
def test_leaving_the_context_ends_what_runs(name: str, request, tmp_path: Path):
    signs = tmp_path / "signs"
    signs.mkdir()
    job = a_job(mixer(Signing, folder=str(signs)), tmp_path, steps=10**6)
    records = []
    make = maker(name, request)
    with make(CASES[name].placement, lambda *seen: records.append(seen)) as executor:
        executor.submit(job)
        end = time.monotonic() + SECONDS
        while not records and time.monotonic() < end:
            assert not list(executor.wait(0.1))
        (worker,) = [identify(int(path.name)) for path in signs.iterdir()]
        assert not worker.is_dead()
        assert worker.pid != os.getpid()
    while not worker.is_dead() and time.monotonic() < end:
        time.sleep(0.01)
    assert worker.is_dead()


def test_jobs_that_were_not_begun_do_not_begin_when_the_context_is_left(tmp_path: Path):
    records = []
    make, placement = EXECUTORS["population"], CASES["population"].placement
    with make(placement, lambda *seen: records.append(seen)) as executor:
        executor.submit(a_job(Plain, tmp_path))
    assert executor.free == 1
    assert records == []


class Shuffled:
    """An executor whose outcomes come late and in another order."""

    def __init__(self, executor: Executor, chance: random.Random) -> None:
        self._executor, self._chance = executor, chance
        self._held: list[Outcome] = []

    def __enter__(self):
        self._executor.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.__exit__(*error)

    @property
    def free(self) -> int:
        return self._executor.free

    def submit(self, job: Job) -> None:
        self._executor.submit(job)

    def wait(self, seconds: float) -> Iterator[Outcome]:
        self._held += self._executor.wait(seconds / 50)
        self._chance.shuffle(self._held)
        for _ in range(self._chance.randint(0, len(self._held))):
            yield self._held.pop()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[Store]:
    """The study, run by one process, one trial after the other."""
    with Store(tmp_path_factory.mktemp("whole") / "whole.db") as store:
        run_study(STUDY, store, workers=0, device="cpu")
        yield store


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_that_of_one_process_whatever_ends_first(
    name: str, whole: Store, tmp_path: Path, request, monkeypatch
):
    case, make = CASES[name], maker(name, request)
    chance = random.Random(0)
    monkeypatch.setitem(EXECUTORS._entries, name, lambda *args: Shuffled(make(*args), chance))
    events: list = []
    with Store(tmp_path / "results.db") as store:
        run_study(
            STUDY,
            store,
            on=name,
            workers=case.placement.workers,
            device="cpu",
            options=case.placement.options,
            on_event=events.append,
        )
        for frame in (cells_frame, trials_frame, history_frame):
            ours, theirs = (
                frame(each, "small").drop(columns=["seconds", "device"], errors="ignore")
                for each in (store, whole)
            )
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
        assert not list(store.folder.rglob("*")), "no checkpoint is left"
    ended = [(e.cell.label, e.request) for e in events if isinstance(e, TrialEnded)]
    assert len(ended) == len(set(ended)), "nothing is run twice"
    steps = [
        (e.cell.label, e.request.learning_rate, e.request.seed, e.record.step)
        for e in events
        if isinstance(e, TrialRecorded)
    ]
    assert len(steps) == len(set(steps)), "no step is done twice"
    assert len(steps) == len(history_frame(whole, "small"))
