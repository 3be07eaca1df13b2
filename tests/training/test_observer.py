"""Whoever looks at a model in training sees all of it and changes nothing."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from without_clock import numbers

import recollect.training.trial as trial_module
from recollect.analysis.dynamics import Dynamics
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.population import run_population
from recollect.training.trial import run_trial

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
TRAIN = TrainConfig(steps=12, batch_size=8, eval_every=4, valid_examples=16, test_examples=16)
STEPS = [0, 4, 8, 12]


def trial(mixer="attention", **changes) -> TrialConfig:
    model = ModelConfig(mixer=mixer, d_model=8, n_layers=2, dropout=0.2)
    return TrialConfig(task=TASK, model=model, train=TRAIN).replace(**changes)


def assert_same(ours: Dynamics, theirs: Dynamics, **tolerance) -> None:
    for name, table in vars(ours.observation).items():
        other = getattr(theirs.observation, name)
        pd.testing.assert_frame_equal(table, other, **{"check_exact": True} | tolerance)


@pytest.fixture(scope="module")
def whole():
    """A trial that was observed without interruption."""
    dynamics = Dynamics(trial())
    run_trial(trial(), observer=dynamics)
    return dynamics


@pytest.mark.parametrize("mixer", ["attention", "mamba", "hyena"])
def test_training_is_the_same_to_the_bit(mixer):
    dynamics = Dynamics(trial(mixer))
    observed, alone = run_trial(trial(mixer), observer=dynamics), run_trial(trial(mixer))
    assert numbers(observed) == numbers(alone)
    for ours, theirs in zip(observed.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert list(dynamics.observation.scores["step"].unique()) == STEPS


def test_the_first_look_is_at_the_untrained_model(whole: Dynamics):
    config = trial()
    untrained = Dynamics(config)
    untrained.observe(0, config.model.build(TASK, seed=config.seeds.init))
    for name, table in vars(untrained.observation).items():
        first = getattr(whole.observation, name).query("step == 0")
        pd.testing.assert_frame_equal(first, table, check_exact=True)


def test_a_resumed_trial_has_neither_holes_nor_repetitions(whole: Dynamics, tmp_path: Path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    for until in (3, 8, 10, None):
        dynamics = Dynamics(trial())
        run_trial(trial(), until=until, checkpoint=checkpoint, observer=dynamics)
    assert_same(dynamics, whole)


def test_nor_has_one_that_was_killed(whole: Dynamics, tmp_path: Path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.safetensors"
    monkeypatch.setattr(trial_module, "CHECKPOINT_SECONDS", 0.0)

    def kill(record):
        if record.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(trial(), checkpoint=checkpoint, observer=Dynamics(trial()), on_record=kill)
    dynamics, seen = Dynamics(trial()), []
    run_trial(
        trial(), checkpoint=checkpoint, observer=dynamics, on_record=lambda r: seen.append(r.step)
    )
    assert seen == [8, 12], "the first steps are not done again"
    assert_same(dynamics, whole)


def test_what_was_not_seen_from_its_beginning_begins_anew(whole: Dynamics, tmp_path: Path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    run_trial(trial(), until=4, checkpoint=checkpoint, observer=Dynamics(trial()))
    run_trial(trial(), until=8, checkpoint=checkpoint)
    dynamics, seen = Dynamics(trial()), []
    result = run_trial(
        trial(), checkpoint=checkpoint, observer=dynamics, on_record=lambda r: seen.append(r.step)
    )
    assert seen == STEPS[1:]
    assert_same(dynamics, whole)
    assert numbers(result) == numbers(run_trial(trial()))


@pytest.mark.parametrize("mixer", ["mamba", "attention"])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.filterwarnings("ignore:.*one model at a time")
def test_the_members_of_a_population_are_observed(mixer, tmp_path: Path):
    """One of them alone at first; attention, for its dropout, one after the other."""
    model = ModelConfig(mixer=mixer, d_model=8, dropout=0.2 if mixer == "attention" else 0.0)
    first = trial(model=model, train=TRAIN.replace(dtype="float64"))
    configs = [
        first.replace(train=first.train.replace(learning_rate=rate)) for rate in (1e-3, 3e-3, 1e-2)
    ]
    checkpoints = [tmp_path / f"{i}.safetensors" for i in range(3)]
    run_trial(configs[0], until=6, checkpoint=checkpoints[0], observer=Dynamics(configs[0]))
    observers = [Dynamics(configs[0]), None, Dynamics(configs[2])]
    results = dict(run_population(configs, checkpoints=checkpoints, observers=observers))
    for place in (0, 2):
        alone = Dynamics(configs[place])
        result = run_trial(configs[place], observer=alone)
        assert_same(observers[place], alone, check_exact=False, rtol=1e-6)
        ((label, test),) = results[place].test.items()
        assert test.loss == pytest.approx(result.test[label].loss, rel=1e-9)
