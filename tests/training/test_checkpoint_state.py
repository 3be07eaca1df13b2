"""A trial that was interrupted gives what it gives in one go, whatever its model keeps."""

import warnings

import pytest
import torch
from changing_mixers import CHANGING, Counts, GrowsBuffer, KeepsList, LazyBuffer, Mean, Toggles

from recollect.models.config import ModelConfig
from recollect.tasks.copying import Copy
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.trial import run_trial

TASK = Copy(min_length=2, max_length=4)
TRAIN = TrainConfig(
    learning_rate=1e-2, steps=6, batch_size=4, eval_every=2, valid_examples=8, test_examples=8
)


class TableOnce(Mean):
    """A table that the first pass makes, and all use alike."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.table, self.act, self.bound = None, lambda x: x, self.extra_repr

    def scale(self, x):
        if self.table is None:
            self.table = torch.linspace(0.5, 1, 16)[:, None]
        return self.act(self.table[: x.shape[1]])


def trial(cls):
    return TrialConfig(task=TASK, model=ModelConfig(mixer=cls, d_model=8, n_layers=1), train=TRAIN)


@pytest.mark.parametrize("cls", [*CHANGING, TableOnce])
def test_an_interrupted_trial_equals_one_in_one_go(cls, tmp_path):
    config, path = trial(cls), tmp_path / "checkpoint"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for until in (1, 3):
            assert run_trial(config, until=until, checkpoint=path).step == until
        resumed = run_trial(config, checkpoint=path)
    whole = run_trial(config)
    assert resumed.test == whole.test
    assert [r.train_loss for r in resumed.history] == [r.train_loss for r in whole.history]


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Counts, "k"),
        (Toggles, "k"),
        (KeepsList, "calls.lengths.0"),
        (LazyBuffer, "places"),
        (GrowsBuffer, "places"),
    ],
)
def test_what_a_checkpoint_would_lose_is_said(cls, name, tmp_path):
    path = tmp_path / "checkpoint"
    with pytest.warns(
        UserWarning, match=rf"cannot be checkpointed.* changes blocks\.0\.mixer\.{name},"
    ):
        run_trial(trial(cls), until=3, checkpoint=path)
    assert not path.exists()


def test_a_table_is_no_loss(tmp_path):
    path = tmp_path / "checkpoint"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_trial(trial(TableOnce), until=3, checkpoint=path)
    assert path.exists()
