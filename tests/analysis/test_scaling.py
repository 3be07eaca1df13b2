import math

import pandas as pd
import pytest

from recollect.analysis.scaling import gain, state_size
from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.referee.state import Size


def cells(accuracies: dict[tuple[int, int], float]) -> pd.DataFrame:
    """By width and depth; a layer has width² parameters."""
    return pd.DataFrame(
        [
            {"d_model": d, "n_layers": n, "test_accuracy": a, "parameters": n * d * d}
            for (d, n), a in accuracies.items()
        ]
    )


def test_gains_along_one_size_with_the_other_fixed():
    found = cells({(32, 1): 0.1, (64, 1): 0.4, (128, 1): 0.5, (32, 2): 0.2, (128, 2): 0.8})
    assert gain(found, "d_model") == pytest.approx((0.4 + 0.6) / 2)
    assert gain(found, "n_layers") == pytest.approx((0.1 + 0.3) / 2)


def test_gains_for_each_doubling():
    found = cells({(32, 1): 0.1, (128, 1): 0.5, (32, 4): 0.3, (128, 4): 0.9})
    assert gain(found, "d_model", "parameters") == pytest.approx((0.4 + 0.6) / 2 / 4)
    assert gain(found, "n_layers", "parameters") == pytest.approx((0.2 + 0.4) / 2 / 2)


def test_a_single_size_has_no_gain():
    assert math.isnan(gain(cells({(32, 1): 0.1, (64, 1): 0.2}), "n_layers"))


@pytest.mark.parametrize("length", [1, 7])
def test_the_state_of_attention_is_its_keys_and_values(length):
    config = ModelConfig(mixer="attention", d_model=16, n_layers=3)
    assert state_size(config, length).numbers == 3 * length * 2 * 16


def test_the_state_of_a_recurrent_model_is_of_all_layers_and_does_not_grow():
    config = ModelConfig(mixer=mixer("mamba", d_conv=0), d_model=16, n_layers=2)
    channels, states = 2 * 16, 16
    numbers = 2 * channels * states
    assert state_size(config, 3) == state_size(config, 9) == Size(4 * numbers, numbers, 4 * numbers)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_convolutions_around_the_mixer_are_part_of_the_state(n_layers):
    plain = ModelConfig(mixer="linear-attention", d_model=16, n_layers=n_layers, mlp="gelu")
    around = plain.replace(short_conv=3, canon="AC")
    more = state_size(around, 9).numbers - state_size(plain, 9).numbers
    assert more == n_layers * 16 * (2 + 3 + 3)
