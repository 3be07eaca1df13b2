"""The GPU check, on a CPU: that it says what is wrong, and ends in time whatever happens."""

import json

import pytest
import torch

from recollect.bench import gpu, gpu_checks, gpu_speed
from recollect.bench.gpu_place import GpuPlace
from recollect.errors import UserError
from recollect.models.language_model import LanguageModel

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


def place(seconds: float = 100.0) -> GpuPlace:
    return GpuPlace.of("cpu", quick=True, seconds=seconds)


def test_each_section_is_a_process_and_its_lines_are_there_at_once(tmp_path):
    out = tmp_path / "gpu" / "check.jsonl"
    words = ["--out", str(out), "--device", "cpu", "--quick", "--only", "device", "--patience", "9"]
    assert gpu.main(words) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["section"] for line in lines} == {"device"}
    assert all(line["ok"] for line in lines)
    assert lines[0]["torch"] == torch.__version__
    assert lines[-1]["end"] == "done"


def test_a_section_that_does_not_end_in_time_is_not_ok(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "AT_THE_END", -100)  # it thinks that it has time
    words = ["--out", str(tmp_path / "lines"), "--device", "cpu", "--quick", "--only", "study"]
    assert gpu.main([*words, "--patience", "0.03"]) == 1
    assert "time limit reached" in capsys.readouterr().err


def test_an_unknown_section_names_the_others(tmp_path):
    with pytest.raises(UserError, match="numerics"):
        gpu.main(["--out", str(tmp_path / "lines"), "--only", "numeric"])


@pytest.fixture
def _one_model(monkeypatch):
    monkeypatch.setattr(gpu_checks, "QUICK", ("hyena",))


@pytest.mark.usefixtures("_one_model")
def test_equal_numbers_are_ok():
    assert [line["ok"] for line in gpu_checks.numerics(place())] == [True]
    found = list(gpu_checks.population(place()))
    assert [line["ok"] for line in found] == [True] * 2
    assert all(line["as_one"] and line["same_twice"] for line in found)


@pytest.mark.usefixtures("_one_model")
def test_other_numbers_are_not(monkeypatch):
    loss = LanguageModel.loss

    def off(model, *batch):
        return loss(model, *batch) * (1 + 1e-3 * torch.rand(()))

    monkeypatch.setattr(LanguageModel, "loss", off)
    assert [line["ok"] for line in gpu_checks.numerics(place())] == [False]


def test_an_item_that_fails_leaves_the_others_alone():
    def measure(n):
        if n == 1:
            raise torch.OutOfMemoryError
        return {"ok": bool(1 / n)}

    lines = list(place().each([{"n": 0}, {"n": 1}, {"n": 2}], measure))
    assert [line["ok"] for line in lines] == [False, None, True]
    assert "ZeroDivisionError" in lines[0]["error"]
    assert lines[1]["left_out"] == "memory ran out"
    (late,) = place(seconds=0).each([{"n": 2}], measure)
    assert late["left_out"] == "no time left"


def test_speed_counts_the_steps_of_all_models(monkeypatch):
    monkeypatch.setattr(gpu_speed, "STEPS", 2)
    lines = [line for line in gpu_speed.speed(place()) if line["models"] == 2]
    assert len(lines) == 2
    for line in lines:
        assert line["model_steps_per_second"] == pytest.approx(2 * line["steps_per_second"])
