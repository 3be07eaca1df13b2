"""The README's examples do what it says."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recollect as rc

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
BEGINNINGS = ["result = rc.train", "class CumulativeMean", "def mine", "class FirstToken"]


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


def test_own_study_is_complete(tmp_path: Path):
    path = tmp_path / "own_study.py"
    path.write_text(block("def mine"))
    study = load(path).mine("laptop")
    assert len(study.cells()) == 4
    study.check()


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
