"""Named layer patterns: what they expand to. `test_conformance` judges one period of each."""

import json

import numpy as np
import pytest

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.mixers.patterns import PATTERNS, pattern_name, register_pattern
from recollect.models.config import ModelConfig
from recollect.studies.grid import models_grid
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrialConfig


def layers(name, depth):
    """The names of the mixers of a model's layers."""
    config = ModelConfig(mixer=name, d_model=8, n_layers=depth)
    return [spec.mixer for spec in config.layer_mixers()]


def places(name, depth, kind):
    return [i for i, mixer_name in enumerate(layers(name, depth)) if mixer_name == kind]


@pytest.mark.parametrize("name", list(PATTERNS))
def test_a_named_model_is_one_period_and_nothing_but_its_layers(name):
    config = ModelConfig(mixer=name, d_model=8)
    assert config.label == name
    assert config.layer_mixers() == PATTERNS[name].layers
    assert PATTERNS[name].description
    spelled_out = ModelConfig(mixer=list(config.mixer), d_model=8, n_layers=config.n_layers)
    assert spelled_out == config
    stored = json.loads(json.dumps(config.model_dump(mode="json")))
    assert name not in [layer["mixer"] for layer in stored["mixer"]]
    assert ModelConfig(**stored) == config
    assert ModelConfig(**stored).label == name
    task = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
    assert TrialConfig(task=task, model=config).key == TrialConfig(task=task, model=spelled_out).key


def test_patterns_have_names_of_their_own():
    expansions = [PATTERNS[name].layers for name in PATTERNS]
    assert len(set(map(str, expansions))) == len(expansions)
    assert pattern_name([mixer("attention")]) is None


@pytest.mark.parametrize(
    ("layers", "label"),
    [
        (["rg-lru", "rg-lru", mixer("sliding-window", window=4)], "griffin(window=4)"),
        (["mamba", mixer("sliding-window", window=4, n_heads=2)], "samba(window=4,n_heads=2)"),
        ([mixer("mamba", d_conv=0), "sliding-window"], "samba(d_conv=0)"),
        (  # the nearest of those with these mixers
            [
                mixer("base-conv", kernel_size=3),
                mixer("sparse-attention", selection="learned", penalty=0.5),
                *[mixer("base-conv", kernel_size=3)] * 2,
            ],
            "base-conv-learned(penalty=0.5)",
        ),
        (  # two values of one option
            [mixer("rg-lru", d_conv=3), "rg-lru", "sliding-window"],
            "rg-lru(d_conv=3)+rg-lru+sliding-window",
        ),
    ],
)
def test_a_pattern_with_other_options_has_its_name(layers, label):
    config = ModelConfig(mixer=layers, d_model=8)
    assert config.label == label
    assert ModelConfig(**json.loads(json.dumps(config.model_dump(mode="json")))).label == label


def test_published_orders_of_layers():
    assert places("griffin", 26, "sliding-window") == [2, 5, 8, 11, 14, 17, 20, 23]
    assert places("griffin", 26, "rg-lru")[:4] == [0, 1, 3, 4]
    assert places("jamba", 32, "attention") == [4, 12, 20, 28]
    assert layers("jamba", 32).count("mamba") == 28
    assert PATTERNS["jamba"].layers[0] == mixer("mamba", inner_norms=True)
    assert places("striped-hyena", 32, "attention") == list(range(1, 32, 2))
    assert places("based-window", 27, "taylor-linear-attention")[:5] == [1, 6, 11, 16, 21]
    assert places("based-window", 27, "sliding-window")[:5] == [2, 7, 12, 17, 22]
    assert layers("xlstm", 4) == ["mlstm", "slstm"] * 2
    assert [spec.options["n_heads"] for spec in PATTERNS["xlstm"].layers] == [1, 1]
    assert places("kimi-linear", 8, "mla") == [3, 7]
    assert layers("kimi-linear", 8).count("kda") == 6
    assert places("qwen3-next", 8, "gated-attention") == [3, 7]
    assert layers("samba", 4) == ["mamba", "sliding-window"] * 2
    assert layers("based", 4) == ["base-conv", "taylor-linear-attention"] * 2


@pytest.mark.parametrize(
    ("kind", "selection"),
    [
        ("attention", "all"),
        ("programmatic", "programmatic"),
        ("learned", "learned"),
        ("random", "random"),
    ],
)
def test_zoology_s_hybrids_differ_in_the_selection_alone(kind, selection):
    specs = PATTERNS[f"base-conv-{kind}"].layers
    sparse = [spec for spec in specs if spec.mixer == "sparse-attention"]
    assert sparse == [mixer("sparse-attention", selection=selection)]
    others = [spec for spec in specs if spec not in sparse]
    assert others == [mixer("base-conv", kernel_size=3)] * 3


def test_its_window_is_known():
    assert ModelConfig(mixer="griffin", d_model=8).window == 64
    assert ModelConfig(mixer=mixer("attention", window=5), d_model=8).window == 5
    assert ModelConfig(mixer="jamba", d_model=8).window is None
    several = [mixer("attention", window=5), "mamba", mixer("sliding-window", window=3)]
    assert ModelConfig(mixer=several, d_model=8).window is None
    assert ModelConfig(mixer=[several[0], several[0], "attention"], d_model=8).window == 5


@pytest.mark.parametrize(
    ("pattern", "n_layers"),
    [
        ("griffin", 2),
        (["attention", "mamba", mixer("mamba", d_conv=0)], 2),
        (("attention", "hyena"), 1),
        (["gla"] * 5, 4),
    ],
)
def test_every_mixer_of_a_pattern_has_a_layer(pattern, n_layers):
    period = n_layers + 1
    message = f"n_layers={n_layers}: the layer pattern has {period} mixers; expected at least"
    with pytest.raises(UserError, match=message):
        ModelConfig(mixer=pattern, d_model=8, n_layers=n_layers)
    model = ModelConfig(mixer=pattern, d_model=8)
    assert model.n_layers == max(period, 2)
    for fewer in (n_layers, float(n_layers), np.int64(n_layers)):
        with pytest.raises(UserError, match=message):
            model.replace(n_layers=fewer)
    assert ModelConfig(mixer=pattern, d_model=8, n_layers=7).n_layers == 7


def test_a_short_pattern_takes_turns_over_the_layers():
    assert ModelConfig(mixer=["attention"], d_model=8).n_layers == 2
    assert ModelConfig(mixer="griffin", d_model=8, n_layers=7).label == "griffin"
    own = ModelConfig(mixer=["attention", "gla"], d_model=8, n_layers=3)
    assert [spec.mixer for spec in own.layer_mixers()] == ["attention", "gla", "attention"]


def test_an_unknown_name_lists_mixers_and_patterns():
    with pytest.raises(UserError, match="did you mean 'griffin'") as error:
        ModelConfig(mixer="grifin", d_model=8)
    assert {"jamba", "attention"} <= {word.strip(",") for word in str(error.value).split()}


def test_a_grid_gives_each_pattern_its_own_depth():
    models = models_grid(["attention", "griffin"], d_model=[8, 16])
    depths = [(model.label, model.d_model, model.n_layers) for model in models]
    assert depths == [
        ("attention", 8, 2),
        ("attention", 16, 2),
        ("griffin", 8, 3),
        ("griffin", 16, 3),
    ]


def test_a_name_registers_once():
    with pytest.raises(ValueError, match="layer pattern 'jamba' is already registered"):
        register_pattern("jamba", title="", paper="", year=2024)(lambda: ["mamba"])
