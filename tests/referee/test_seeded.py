"""A trial's seed decides all: weights are a module's own, and random numbers PyTorch's."""

import random

import numpy as np
import pytest
import seeded
import torch

from recollect.referee.check import check, contexts, judge
from recollect.referee.generators import kept


def judged(cls):
    return judge("determinism", contexts(cls, d_model=8, max_len=64)[0])


@pytest.mark.parametrize(
    ("cls", "evidence"),
    [
        (seeded.SharesADefault, "two modules share first.weight, first.bias"),
        (seeded.SetsTheSeed, "the constructor sets the seed of PyTorch's random numbers"),
        (seeded.SetsTheSeedInForward, "forward sets the seed of PyTorch's random numbers"),
        (seeded.NumPyWeights, "the constructor draws from NumPy's random numbers"),
        (seeded.PythonLayerDrop, "forward draws from Python's random numbers"),
    ],
)
def test_what_a_trial_does_not_seed_is_named(cls, evidence):
    verdict = judged(cls)
    assert verdict.status == "fail"
    assert evidence in verdict.evidence


@pytest.mark.parametrize(
    "cls", [seeded.SharesABuffer, seeded.SetsAForkedSeed, seeded.TorchLayerDrop]
)
def test_what_a_trial_seeds_is_sound(cls):
    assert judged(cls).status == "pass"


def test_another_generator_does_not_hide_behind_other_faults():
    report = check(seeded.PythonLayerDrop, d_model=8, max_len=64)
    assert [name for name, v in report.verdicts.items() if v.status == "fail"] == ["determinism"]


def test_the_checks_leave_all_generators_as_they_were():
    def drawn():
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    with kept():
        expected = drawn()
    check(seeded.TorchLayerDrop, d_model=8, max_len=64)
    with kept():
        assert drawn() == expected
