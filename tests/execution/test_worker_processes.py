"""Worker processes with a population each, as on several GPUs; and where trials run."""

from pathlib import Path

import pytest
import torch
from test_executors import Opened, a_job
from works import Tells

from recollect.errors import FatalError, UserError
from recollect.execution import bundle
from recollect.execution.executor import EXECUTORS, Placement
from recollect.execution.places import place
from recollect.execution.run_jobs import run_jobs
from recollect.execution.workers import Workers

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_each_process_trains_a_population(tmp_path: Path):
    seen: list[tuple[str, int]] = []
    placement = Placement(devices=("cpu", "cpu"), workers=2, population=2)
    jobs = [a_job("base-conv", tmp_path, seed) for seed in range(5)]
    with EXECUTORS["processes"](
        placement, lambda job, record: seen.append((job.key, record.step))
    ) as executor:
        assert executor.free == 4
        found = Opened(executor, {}, tmp_path).outcomes(*jobs)
    assert {outcome.status for outcome in found.values()} == {"complete"}
    for pair in ({jobs[0].key, jobs[1].key}, {jobs[2].key, jobs[3].key}):
        steps = [step for key, step in seen if key in pair]
        assert steps == [2, 2, 4, 4, 6, 6, 8, 8], "both are trained as one program"


def test_jobs_are_shared_evenly_among_the_processes(tmp_path: Path):
    placement = Placement(devices=("cpu", "cpu"), workers=2, population=64)
    with EXECUTORS["processes"](placement, lambda *_: None) as executor:
        for seed in range(6):
            executor.submit(a_job("attention", tmp_path, seed, steps=10**6))
        executor.submit(a_job("base-conv", tmp_path, steps=10**6))
        assert executor.free == 2 * 64 - 7
        list(executor.wait(0))
        assert executor.free == 0


@pytest.mark.parametrize(
    ("words", "name", "placement"),
    [
        ({"workers": 3}, "processes", Placement(("cpu",), 3, 1)),
        ({"workers": 0}, "population", Placement(("cpu",), 0, 1)),
        ({"workers": 0, "population": 5}, "population", Placement(("cpu",), 0, 5)),
        (
            {"workers": 3, "on": "processes", "population": 2},
            "processes",
            Placement(("cpu",), 3, 2),
        ),
        ({"device": "cuda"}, "population", Placement(("cuda",), 0, 64)),
        ({"device": "cuda", "on": "processes"}, "processes", Placement(("cuda",), 1, 64)),
        ({"device": "cuda:0,cuda:2"}, "processes", Placement(("cuda:0", "cuda:2"), 2, 64)),
        (
            {"device": "cuda:all", "population": 8},
            "processes",
            Placement(("cuda:0", "cuda:1", "cuda:2"), 3, 8),
        ),
    ],
)
def test_where_trials_run(monkeypatch, words, name, placement):
    with_gpus(monkeypatch, 3)
    assert chosen(**words) == (name, placement)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"device": "cuda:0,cuda:3"}, r"device='cuda:3': this machine has cuda:0 to cuda:2"),
        ({"device": "cuda:0,cuda:0"}, "expected different GPUs"),
        ({"device": "cpu,cuda:0"}, "expected different GPUs"),
        ({"device": "cuda:0,cuda:1", "workers": 4}, "each GPU has exactly one process"),
        ({"device": "cuda:0,cuda:1", "on": "population"}, "run in this process"),
        ({"on": "processes", "workers": 0}, "workers=0: these settings need"),
        ({"on": "nowhere"}, "unknown executor 'nowhere'"),
    ],
)
def test_places_that_do_not_fit_together_are_refused(monkeypatch, words, message):
    with_gpus(monkeypatch, 3)
    with pytest.raises(UserError, match=message):
        EXECUTORS[chosen(**words)[0]]


@pytest.mark.parametrize("device", ["cuda:all", "cuda:0,cuda:1"])
def test_gpus_that_are_not_there_are_a_user_error(monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="this machine has no CUDA device"):
        chosen(device=device)


def chosen(on=None, device="cpu", workers=None, population=None) -> tuple[str, Placement]:
    return place(on, device, workers, population, {})


def with_gpus(monkeypatch, count: int) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)


def test_a_process_that_lost_its_gpu_gets_no_more_work():
    """CUDA is lost for the whole process; its last failure is reported all the same."""
    with Workers[Tells](1, lambda *_: None) as workers:
        numbers = []
        for work in (Tells(), Tells(ends_worker=True), Tells()):
            workers.submit(work)
            ended = []
            while not ended:
                ended = list(workers.wait(60))
            numbers.append(ended[0][1].key)
    assert numbers[0] == numbers[1] != numbers[2]


def test_the_failure_that_loses_the_gpu_is_reported(monkeypatch, tmp_path: Path):
    job = a_job("attention", tmp_path)
    failure = ValueError("CUDA error: an illegal memory access")

    def lose(jobs, *_):
        yield jobs[0], failure
        raise FatalError("run the same command again")

    monkeypatch.setattr(bundle, "run_jobs", lose)
    report = bundle.Bundle({job.key: job}, "cpu").run(lambda _: None)
    assert report == bundle.Report(job.key, failure, ends_worker=True)
    other = a_job("base-conv", tmp_path)
    with pytest.raises(FatalError, match="run the same command again"):
        bundle.Bundle({job.key: job, other.key: other}, "cpu").run(lambda _: None)


@pytest.mark.parametrize("population", [1, 2])
def test_a_process_with_another_default_type_trains_nothing(population: int, tmp_path: Path):
    """A user's file may change it when a worker imports it."""
    jobs = [a_job("attention", tmp_path, seed) for seed in range(population)]
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(FatalError, match=r"default type is torch\.float64"):
            list(run_jobs(jobs, "cpu", lambda *_: None))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("population", [1, 2])
def test_a_damaged_checkpoint_starts_the_trial_again(population: int, tmp_path: Path):
    """A power failure may leave an empty file."""
    jobs = [a_job("attention", tmp_path, seed) for seed in range(population)]
    with jobs[0].checkpoint.writing() as path:
        path.touch()
    with pytest.warns(UserWarning, match="the trial starts again from the beginning"):
        ended = list(run_jobs(jobs, "cpu", lambda *_: None))
    assert [outcome.status for _, outcome in ended] == ["complete"] * population


def test_a_checkpoint_that_cannot_be_opened_is_kept(monkeypatch, tmp_path: Path):
    """As when the process has too many open files: nothing says that the file is damaged."""
    job = a_job("attention", tmp_path)
    with job.checkpoint.writing() as path:
        path.write_bytes(b"a trial of hours")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("recollect.training.checkpoint.safe_open", refuse)
    ((_, outcome),) = run_jobs([job], "cpu", lambda *_: None)
    assert "Too many open files" in str(outcome)
    with job.checkpoint.reading() as path:
        assert path.read_bytes() == b"a trial of hours"
