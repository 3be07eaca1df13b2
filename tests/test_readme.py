"""The README's examples do what it says."""

import importlib.util
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

import recollect as rc

pytestmark = pytest.mark.slow

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
BEGINNINGS = ["result = rc.train", "class CumulativeMean", "def mine"]
BEGINNINGS += ["results = rc.run", "class FirstToken", "def first_answer", "def my_optimizer"]
BEGINNINGS += ["gru = rc.adapt"]


def block(part: str) -> str:
    (found,) = [text for text in BLOCKS if part in text]
    return found


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested():
    assert len(BLOCKS) == len(BEGINNINGS)


def test_training_in_five_lines():
    names = {}
    exec(block("result = rc.train"), names)
    assert names["result"].status == "complete"
    assert 0 <= names["result"].test["mqar-64x4"].accuracy <= 1


def test_own_mixer_passes_the_referee(tmp_path: Path):
    (tmp_path / "mine.py").write_text(block("class CumulativeMean"))
    command = [sys.executable, "-m", "recollect.cli", "check", "mine.py:CumulativeMean"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_classes_of_another_library_are_mixers():
    names = {}
    exec(block("gru = rc.adapt"), names)
    task = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
    inputs = task.sample(2, seed=0).inputs
    for model in names["models"]:
        assert model.build(task)(inputs).shape == (2, 8, 16)


def test_own_study_is_complete(tmp_path: Path):
    path = tmp_path / "own_study.py"
    path.write_text(block("def mine"))
    study = load(path).mine("laptop")
    assert len(study.cells()) == 4
    study.check()


def test_own_study_from_python(tmp_path: Path, monkeypatch, capsys):
    """Its example, with fewer and shorter trials, and no mixer that is compiled first."""
    text = block("def mine").replace("steps=1000", "steps=4, valid_examples=8, test_examples=8")
    text = text.replace('"mamba"', '"base-conv"')
    text = re.sub("search=.*", "search=rc.FixedGrid(rates=[1e-2]),", text)
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(rc, "run", partial(rc.run, workers=0, device="cpu", progress=False))
    load(tmp_path / "mine.py")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with patch.object(sys, "path", [str(tmp_path), *sys.path]):
        exec(block("results = rc.run"), {"__name__": "__main__"})
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert capsys.readouterr().out.count("not learnt in 4 steps") == 4
    assert (tmp_path / "rates.pdf").stat().st_size > 0


@pytest.fixture
def own_task(tmp_path: Path):
    path = tmp_path / "own_task.py"
    path.write_text(block("class FirstToken"))
    return load(path).FirstToken()


def test_own_task_is_trained_on(own_task):
    steps = rc.TrainConfig(steps=60, batch_size=32, eval_every=30, test_examples=100)
    model = rc.ModelConfig(mixer="attention", d_model=32, n_layers=1)
    result = rc.train(model, own_task, steps, device="cpu")
    assert result.test["first-token-16"].accuracy > 2 * own_task.chance


def test_own_metric_is_measured(tmp_path: Path):
    script = block("def first_answer") + (
        "task = rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)\n"
        "size = {'steps': 2, 'valid_examples': 8, 'test_examples': 8}\n"
        "train = rc.TrainConfig(metrics=['first_answer'], **size)\n"
        "model = rc.ModelConfig(mixer='attention', d_model=8)\n"
        "result = rc.train(model, task, train, device='cpu')\n"
        "print(result.test[task.label].further['first_answer'].value)\n"
    )
    (tmp_path / "own_metric.py").write_text(script)
    command = [sys.executable, "own_metric.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) <= 1


def test_own_optimiser_is_trained_with(tmp_path: Path):
    (tmp_path / "own_optimizer.py").write_text(block("def my_optimizer"))
    train = rc.TrainConfig(
        optimizer=f"{tmp_path}/own_optimizer.py:my_optimizer",
        betas=(0.8, 0.9),
        steps=2,
        valid_examples=8,
        test_examples=8,
    )
    model = rc.ModelConfig(mixer="attention", d_model=8, n_layers=1)
    task = rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
    assert rc.train(model, task, train, device="cpu").status == "complete"
