"""The examples of the README and of the pages do what these say."""

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

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
TESTED = {
    "README.md": ["print(rc.run(study"],
    "metrics.md": ["def first_answer"],
    "mixers.md": ["gru = rc.adapt"],
    "optimizers.md": ["def my_optimizer"],
    "cluster.md": ["class Futures"],  # tests/execution/test_own_executor.py
    "tasks.md": ["based = rc.Mixture"],  # tests/tasks/test_documented.py
    "trackers.md": ["rc.run(study, store", "def listen"],
}
"""The examples of each page; `make docs` runs those of a page that is a notebook."""


def examples(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def block(part: str) -> str:
    (found,) = [text for page in PAGES for text in examples(page) if part in text]
    return found


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_by_a_test_or_by_the_build():
    found = {
        page.name: examples(page)
        for page in PAGES
        if examples(page) and not page.read_text(encoding="utf-8").startswith("---\nnotebook: true")
    }
    assert found.keys() == TESTED.keys()
    for name, parts in TESTED.items():
        assert len(found[name]) == len(parts)
        assert all(part in text for part, text in zip(parts, found[name], strict=True))


def test_classes_of_another_library_are_mixers():
    names = {}
    exec(block("gru = rc.adapt"), names)
    task = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
    inputs = task.sample(2, seed=0).inputs
    for model in names["models"]:
        assert model.build(task)(inputs).shape == (2, 8, 16)


def test_study_of_the_readme(tmp_path: Path, monkeypatch, capsys):
    """Its example, with fewer and shorter trials, and no mixer that is compiled first."""
    text = block("print(rc.run(study").replace(
        "steps=600", "steps=4, valid_examples=8, test_examples=8"
    )
    text = text.replace('"mamba"', '"base-conv"')
    text = re.sub("search=.*", "search=rc.FixedGrid(rates=[1e-2]),", text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(rc, "run", partial(rc.run, workers=0, device="cpu", progress=False))
    exec(text, {"__name__": "__main__"})
    assert capsys.readouterr().out.count("not learnt in 4 steps") == 4


def test_study_of_the_readme_as_it_stands_can_be_run():
    study: list[rc.Study] = []
    with patch.object(rc, "run", lambda made, **_: study.append(made)):
        exec(block("print(rc.run(study"), {"__name__": "__main__"})
    assert len(study[0].cells()) == 4
    study[0].check()


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
