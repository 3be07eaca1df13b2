"""The sizes of language models."""

import pytest
from tiny_training import write_text
from torch._subclasses.fake_tensor import FakeTensorMode

from recollect.errors import UserError
from recollect.language.presets import PRESETS, preset_model, preset_trial
from recollect.mixers.catalogue import mixer
from recollect.models.language_model import LanguageModel

SCALES = {"70m": 70e6, "150m": 150e6, "360m": 360e6, "1.4b": 1.4e9}


@pytest.mark.parametrize("name", PRESETS)
def test_the_paper_s_scales(name):
    """Without memory for them; the small ones for a laptop are as small as they seem."""
    preset = PRESETS[name]
    with FakeTensorMode():
        model = LanguageModel(
            preset_model(preset), vocab_size=preset.vocab_size, max_len=preset.context, seed=0
        )
    parameters = sum(p.numel() for p in model.parameters())
    if name in SCALES:
        assert abs(parameters / SCALES[name] - 1) < 0.05
    else:
        assert parameters < 5e6


def test_heads():
    preset = PRESETS["small"]
    assert preset_model(preset).label == "attention(n_heads=4)"
    assert preset_model(preset, "attention", heads=1).label == "attention"
    assert preset_model(preset, mixer("attention", n_heads=2)).label == "attention(n_heads=2)"
    assert preset_model(preset, mixer("gla", n_heads=1)).label == "gla(n_heads=1)"
    assert preset_model(preset, "hyena").label == "hyena"
    assert preset_model(preset, ["attention", "hyena"]).label == "attention(n_heads=4)+hyena"


@pytest.mark.parametrize("name", ["delta-net", "gla", "rwkv6"])
def test_heads_reach_mixers_whose_default_is_not_one_head(name):
    preset = PRESETS["small"]
    assert preset_model(preset, name).mixer[0] == mixer(name)
    (spec,) = preset_model(preset, name, heads=8).mixer
    assert spec.options["n_heads"] == 8
    hybrid = preset_model(preset, [name, "base-conv"], heads=8)
    assert hybrid.label == f"{name}(n_heads=8)+base-conv"


def test_heads_that_no_mixer_takes():
    preset = PRESETS["small"]
    with pytest.raises(UserError, match="n_heads=2: hyena has no heads"):
        preset_model(preset, "hyena", heads=2)
    with pytest.raises(UserError, match="n_heads=4: the mixer gla was given another number"):
        preset_model(preset, mixer("gla", n_heads=2), heads=4)
    assert preset_model(preset, mixer("gla", n_heads=2), heads=2).label == "gla(n_heads=2)"


def test_a_pattern_needs_its_layers():
    hybrid = preset_model(PRESETS["small"], "base-conv-programmatic")
    assert [spec.mixer for spec in hybrid.layer_mixers()].count("sparse-attention") == 1
    assert hybrid.label.count("n_heads=4") == 1
    with pytest.raises(UserError, match=r"n_layers=2: .*at least 4"):
        preset_model(PRESETS["tiny"], "base-conv-programmatic")


def test_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "kept"))
    text, preset = str(write_text(tmp_path)), PRESETS["70m"]
    config = preset_trial(preset, preset_model(preset), text=text, dtype="bfloat16")
    assert config.train.steps * config.train.batch_size * preset.context >= preset.tokens
    assert (config.train.steps - 1) * config.train.batch_size * preset.context < preset.tokens
    assert (config.train.betas, config.train.grad_clip) == ((0.9, 0.95), 1.0)
    assert (config.train.weight_decay, config.train.schedule) == (0.1, "cosine")
    assert (config.model.mlp, config.model.norm, config.model.dropout) == ("gelu", "layernorm", 0)
    assert config.train.stop_accuracy is None
