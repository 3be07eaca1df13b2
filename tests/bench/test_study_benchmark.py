"""Trials per hour."""

import pytest
from torch import Tensor, nn

import recollect as rc
from recollect.bench.settings import BenchSettings
from recollect.bench.study import STUDY, measure_study
from recollect.errors import UserError

TINY = STUDY.replace(
    tasks=[rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)],
    models=[rc.ModelConfig(mixer="attention", d_model=8)],
    train=rc.TrainConfig(steps=2, batch_size=8, valid_examples=8, test_examples=8),
    search=rc.FixedGrid(rates=[1e-3]),
    seeds=[1],
)


def test_trials_per_hour():
    settings = BenchSettings(models=TINY.models, repeats=1, device="cpu")
    (found,) = measure_study(TINY, settings)
    assert (found.unit, found.subject) == ("1/h", "mqar-16x2-v64")
    assert found.setting == {"trials": 1, "steps": 2, "batch": 8}
    assert found.low == found.median == found.high > 0


def test_the_study_is_complete_and_fixed():
    assert len(STUDY.cells()) == 1
    STUDY.check()


class Raising(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise RuntimeError("no")


def test_a_study_whose_trials_fail_is_not_timed():
    failing = TINY.replace(models=rc.models_grid(Raising, d_model=8))
    settings = BenchSettings(models=failing.models, repeats=1, device="cpu")
    with pytest.raises(UserError, match="1 trials of bench failed"):
        list(measure_study(failing, settings))
