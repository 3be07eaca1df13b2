"""Files that are edited while the process runs: it goes on with the old version and says so."""

import importlib
import os
import sys
import time
import warnings
from pathlib import Path

import pytest

import recollect as rc

FILE = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return {scale} * self.linear(x)

def half(logits, batch):
    return torch.full((len(batch),), {scale} / 4)

def descent(model, config):
    rates = {{"lr": config.learning_rate, "weight_decay": config.weight_decay}}
    return torch.optim.SGD(model.parameters(), **rates)
"""
TASK = rc.MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)
TRAIN = rc.TrainConfig(steps=1, batch_size=2, eval_every=1, valid_examples=2, test_examples=2)
TOLD = "was edited after this process loaded it, .*: the old version runs; restart the process"


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "edited", raising=False)
    file = tmp_path / "edited.py"
    file.write_text(FILE.format(scale=1))
    yield file
    sys.modules.pop("edited", None)


def edit(file: Path, scale: int) -> None:
    file.write_text(FILE.format(scale=scale))
    later = time.time() + scale
    os.utime(file, (later, later))


def trained(mixer="attention", **changes):
    model = rc.ModelConfig(mixer=mixer, d_model=8, n_layers=1)
    return rc.train(model, TASK, TRAIN.replace(**changes), device="cpu")


def silent(**given) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(**given)


@pytest.mark.parametrize("by_name", [True, False])
def test_training_warns_once_of_each_edit_of_a_mixer(file: Path, by_name):
    mixer = importlib.import_module("edited").Mine if by_name else f"{file}:Mine"
    silent(mixer=mixer)
    for scale in (2, 3):
        edit(file, scale)
        with pytest.warns(UserWarning, match=TOLD):
            trained(mixer)
        silent(mixer=mixer)


def test_training_warns_of_an_edit_before_its_first_run(file: Path):
    """The source that runs is unknown, so the trial has no key either."""
    mixer = importlib.import_module("edited").Mine
    edit(file, 2)
    with pytest.warns(UserWarning, match=TOLD):
        assert trained(mixer).key is None


@pytest.mark.parametrize("setting", [{"metrics": "half"}, {"optimizer": "descent"}])
def test_training_warns_of_edited_metrics_and_optimisers(file: Path, setting):
    given = {name: f"{file}:{function}" for name, function in setting.items()}
    silent(**given)
    edit(file, 2)
    with pytest.warns(UserWarning, match=TOLD):
        trained(**given)


def test_studies_and_the_referee_warn_too(file: Path):
    study = rc.Study(
        "edited",
        tasks=TASK,
        models=rc.ModelConfig(mixer=f"{file}:Mine", d_model=8, n_layers=1),
        train=TRAIN,
    )
    study.check()
    edit(file, 2)
    with pytest.warns(UserWarning, match=TOLD):
        study.check()
    edit(file, 3)
    with pytest.warns(UserWarning, match=TOLD):
        rc.check(f"{file}:Mine", d_model=8, max_len=64)


def test_a_study_goes_on_with_the_version_that_is_loaded(file: Path):
    """Its table, which asks for the present source, does not make that the one that runs."""
    mixer = importlib.import_module("edited").Mine
    where = {"store": file.with_name("r.db"), "workers": 0, "device": "cpu", "progress": False}
    study = rc.Study(
        "edited",
        tasks=TASK,
        models=rc.ModelConfig(mixer=mixer, d_model=8, n_layers=1),
        train=TRAIN,
        search=rc.FixedGrid(rates=[1e-3]),
        seeds=1,
    )
    before = rc.run(study, **where)
    edit(file, 2)
    with pytest.warns(UserWarning, match=TOLD):
        after = rc.run(study, fresh=True, **where)
    assert list(after.trials["key"]) == list(before.trials["key"])
    assert "was edited after the run" in repr(after)


def test_an_edit_of_line_endings_is_none(file: Path):
    silent(mixer=f"{file}:Mine")
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    silent(mixer=f"{file}:Mine")
