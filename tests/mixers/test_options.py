"""Options of a mixer: a store returns exactly the option that was stored, or refuses it."""

from __future__ import annotations

import enum
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import recollect as rc
from recollect.config import Config, digest
from recollect.training.config import TrialConfig

TASK = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)


class Clipped(nn.Module):
    """Its input within bounds, which None makes narrow."""

    def __init__(
        self, clip=None, *, act=F.gelu, dtype=torch.float32, limit=math.inf, unknown=math.nan
    ) -> None:
        super().__init__()
        self.given = clip
        self.defaults = act, dtype, limit, unknown
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        bound = 1e-3 if self.given is None else self.given
        return self.scale * x.clamp(-bound, bound)


class Kind(enum.IntEnum):
    FIRST = 1


def _config(value: object) -> TrialConfig:
    model = rc.ModelConfig(mixer=rc.mixer(Clipped, clip=value), d_model=4, n_layers=1)
    return TrialConfig(task=TASK, model=model)


def _from_a_store(config: TrialConfig) -> TrialConfig:
    text = json.dumps(config.model_dump(mode="json"), allow_nan=False)
    return TrialConfig(**json.loads(text))


def _given(config: TrialConfig) -> object:
    return config.model.build(TASK).layers[0].mixer.given


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_a_store_gives_back_what_was_put_in(value: object) -> None:
    config = _config(value)
    again = _from_a_store(config)
    assert again.key == config.key
    assert repr(_given(again)) == repr(_given(config)) == repr(value)


@pytest.mark.parametrize(
    "values",
    [
        (math.inf, -math.inf, None, 1e9, "inf", "Infinity"),
        (True, 1, 1.0, "1", [1]),
        (False, 0, 0.0, -0.0, None, []),
        ([1, math.inf], [1, None], [1, -math.inf]),
        (2**53, 2**53 + 1, float(2**53), 2**100),
    ],
    ids=str,
)
def test_different_options_have_different_keys_and_labels(values: tuple[object, ...]) -> None:
    configs = [_config(value) for value in values]
    assert len({config.key for config in configs}) == len(values)
    assert len({config.model.label for config in configs}) == len(
        {str(value) for value in values}  # a text is printed without quotes
    )


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.1), 0.10000000149011612),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float64(np.inf), math.inf),
        ((1, (2.5, "a")), [1, [2.5, "a"]]),
    ],
    ids=repr,
)
def test_numbers_of_numpy_and_tuples_become_plain_at_once(value: object, plain: object) -> None:
    assert repr(_given(_config(value))) == repr(plain)
    assert _config(value).key == _config(plain).key


@pytest.mark.parametrize(
    ("name", "option"), [("attention", "n_heads"), ("attention", "window"), ("mamba", "d_conv")]
)
def test_a_whole_number_by_division_is_one_in_our_mixers(name: str, option: str) -> None:
    """`d_model / 32` is 2.0, with which layers fail, and which would have another key."""
    given = rc.mixer(name, **{option: 64 / 32})
    assert type(given.options[option]) is int
    assert given.model_dump(mode="json") == rc.mixer(name, **{option: 2}).model_dump(mode="json")
    given.build(d_model=64)(torch.zeros(1, 4, 64))


def test_fractions_and_the_options_of_users_classes_stay_as_they_are() -> None:
    assert type(rc.mixer("attention", dropout=1.0).options["dropout"]) is float
    assert type(rc.mixer(Clipped, clip=2.0).options["clip"]) is float


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [1.0, math.nan],
        np.float64("nan"),
        1j,
        np.longdouble(1),
        np.array([1.0]),
        torch.float16,
        torch.ones(1),
        F.relu,
        nn.GELU,
        Kind.FIRST,
        {"a": 1},
        {"float": "1"},
        b"a",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused_in_words(value: object) -> None:
    with pytest.raises(rc.UserError, match=r"the option clip=.* cannot be stored"):
        _config(value)


def test_defaults_that_cannot_be_stored_stay_what_the_class_says() -> None:
    config = _from_a_store(_config(1.0))
    act, dtype, limit, unknown = config.model.build(TASK).layers[0].mixer.defaults
    assert (act, dtype, limit) == (F.gelu, torch.float32, math.inf)
    assert math.isnan(unknown)
    assert config.model.label == "Clipped(clip=1.0)"


def test_an_infinite_option_in_a_study(tmp_path) -> None:
    train = rc.TrainConfig(steps=4, batch_size=4, eval_every=4, valid_examples=8, test_examples=8)
    model = rc.ModelConfig(mixer=rc.mixer(Clipped, clip=math.inf), d_model=4, n_layers=1)
    study = rc.Study(
        "clip",
        tasks=[TASK],
        models=[model],
        train=train,
        search=rc.FixedGrid(rates=[1e-2]),
        seeds=[1],
    )
    (row,) = rc.run(study, store=str(tmp_path / "a.db"), workers=0).cells.to_dict("records")
    alone = rc.train(model, TASK, train.replace(learning_rate=1e-2), seed=1)
    assert row["test_loss"] == alone.test[TASK.label].loss
    assert row["mixer"] == "Clipped(clip=inf)"


def test_no_config_turns_infinity_into_null() -> None:
    class Loose(Config):
        value: object

    for value in (math.inf, [math.nan], {"a": -math.inf}):
        with pytest.raises(rc.UserError, match="finite numbers"):
            digest(Loose(value=value).model_dump(mode="json"))
