"""A trial's seed decides all: weights are a module's own, and random numbers PyTorch's."""

import pytest
import seeded

from recollect.referee.check import contexts, judge


def judged(cls, name="determinism"):
    return judge(name, contexts(cls, d_model=8, max_len=64)[0])


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
    for name in ("causality", "independent rows", "gradients"):
        assert judged(seeded.PythonLayerDrop, name).status == "pass"
