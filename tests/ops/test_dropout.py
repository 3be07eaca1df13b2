"""Dropout masks: each element is dropped independently of all others."""

import pytest
import torch
from torch import nn
from torch.func import vmap

from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.ops.dropout import dropout, dropout_masks, kept, key_words, uniform
from recollect.seeding import derive_seed
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import NUMERICS, TrainConfig, TrialConfig, trial_key
from recollect.training.trial import run_trial

SHAPE = (64, 32, 64)


def keys(count: int) -> list[tuple[int, int]]:
    return [key_words(derive_seed(seed, "dropout", 0)) for seed in range(count)]


def masks(key, calls=1, p=0.5, shape=SHAPE, first=0):
    with dropout_masks(key, first):
        return [kept(torch.empty(shape), p) for _ in range(calls)]


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_a_share_of_the_numbers_is_dropped(p):
    size = torch.Size(SHAPE).numel()
    for key in keys(3):
        (mask,) = masks(key, p=p)
        spread = (p * (1 - p) / size) ** 0.5
        assert abs((~mask).double().mean().item() - p) < 5 * spread


def test_masks_of_other_keys_calls_and_places_have_nothing_in_common():
    """Correlations of 131,072 fair coins are within 5 standard deviations of zero."""
    coins = [(2.0 * mask.float() - 1) for key in keys(3) for mask in masks(key, calls=3)]
    pairs = [(a, b) for i, a in enumerate(coins) for b in coins[:i]]
    one = coins[0]
    pairs += [(one[n:], one[:-n]) for n in (1, 2, 32)]
    pairs += [(one[..., n:], one[..., :-n]) for n in (1, 2, 16, 32)]
    pairs += [(one[:, n:], one[:, :-n]) for n in (1, 16)]
    for a, b in pairs:
        assert abs((a * b).mean().item()) < 5 / a.numel() ** 0.5


def test_numbers_that_stay_are_scaled():
    x = torch.full((100, 100), 3.0, dtype=torch.float64)
    with dropout_masks(keys(1)[0]):
        y = dropout(x, 0.25)
    assert {*y.unique().tolist()} == {0.0, 4.0}


def test_a_model_among_others_and_a_part_of_a_batch_have_the_masks_of_all():
    words = torch.tensor(keys(3), dtype=torch.int32)

    def both(key, x):
        with dropout_masks(key):
            return kept(x, 0.3), kept(x[..., 0], 0.3)

    together = vmap(both)(words, torch.empty(3, *SHAPE))
    for i, key in enumerate(keys(3)):
        alone = both(key, torch.empty(SHAPE))
        assert all(torch.equal(ours[i], mine) for ours, mine in zip(together, alone, strict=True))
        (later,) = masks(key, p=0.3, shape=(24, *SHAPE[1:]), first=40)
        assert torch.equal(later, alone[0][40:])


def test_the_masks_are_these():
    """Masks are the same on every device and in every version: stored trials depend on them."""
    (mask,) = masks(key_words(2**40 + 7), shape=(2, 16))
    assert ["".join(str(int(kept)) for kept in row) for row in mask] == [
        "1001010100000110",
        "1011110110011011",
    ]


def test_outside_of_a_trial_the_generator_draws_the_key():
    x = torch.ones(50, 50)
    torch.manual_seed(1)
    one, two = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(dropout(x, 0.5), one)
    assert not torch.equal(one, two)


def trial(**model) -> TrialConfig:
    train = TrainConfig(
        steps=2, batch_size=8, eval_every=1, valid_examples=4, test_examples=4, dtype="float64"
    )
    model = ModelConfig(**({"mixer": "attention", "d_model": 8} | model))
    return TrialConfig(
        task=MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32), model=model, train=train
    )


def test_a_batch_in_parts_gives_the_same():
    whole, parts = (run_trial(trial(dropout=0.5), rows=rows) for rows in (None, 3))
    for ours, theirs in zip(whole.history, parts.history, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ({}, NUMERICS),
        ({"dropout": 0.1}, NUMERICS + 1),
        ({"mixer": mixer("attention", dropout=0.1)}, NUMERICS + 1),
        ({"mixer": mixer(nn.Dropout, p=0.1)}, NUMERICS),
    ],
)
def test_the_masks_have_a_version_in_the_keys_of_trials_that_drop(model, version):
    config = trial(**model)
    assert config.key == trial_key(version, config.model_dump(mode="json"))
    study = Study("one", tasks=[config.task], models=[config.model], train=config.train)
    (cell,) = study.cells()
    assert cell.numerics == version


def test_uniform_numbers_are_spread_evenly_and_never_reach_the_ends():
    with dropout_masks(key_words(3)):
        drawn = uniform(torch.empty(64, 4096))
    assert 0 < drawn.min() < 1e-3
    assert 1 - 1e-3 < drawn.max() < 1
    counts = torch.histc(drawn, bins=16, min=0, max=1)
    assert ((counts - 16384).abs() < 600).all()  # five standard deviations


def test_uniform_numbers_of_part_of_a_batch_are_those_of_the_whole():
    with dropout_masks(key_words(3)):
        whole = uniform(torch.empty(6, 5))
    with dropout_masks(key_words(3), first=2):
        part = uniform(torch.empty(4, 5))
    assert torch.equal(whole[2:], part)
