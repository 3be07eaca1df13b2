"""Classes of other libraries are mixers without a wrapper."""

import pickle
import sys
from pathlib import Path

import foreign_classes as classes
import pytest
import torch
from torch import nn

import recollect as rc
from recollect.mixers.transformers_mixers import HF
from recollect.models.calling import call_forward, call_initial_state, call_step

D, LENGTH = 64, 12
X = torch.randn(3, LENGTH, D, generator=torch.Generator().manual_seed(0))
TOKENS = torch.zeros(3, LENGTH, dtype=torch.long)


def built(spec, layer_idx=1, n_layers=3):
    torch.manual_seed(0)
    context = {"d_model": D, "max_len": LENGTH, "layer_idx": layer_idx, "n_layers": n_layers}
    return rc.MixerSpec(**as_dict(spec)).build(**context, rope=False).eval()


def as_dict(spec):
    return spec.model_dump(mode="json")


def outputs(module):
    with torch.no_grad():
        return call_forward(module, X, TOKENS)


def stepped(module):
    state, outs = call_initial_state(module, 3), []
    with torch.no_grad():
        for t in range(LENGTH):
            y, state = call_step(module, X[:, t], state, TOKENS[:, t])
            outs.append(y)
    return torch.stack(outs, 1)


def test_a_width_of_another_name_is_read_off():
    module = built(rc.mixer(classes.Recurrent, scale=0.5))
    assert module.scale == 0.5
    torch.testing.assert_close(outputs(module), 0.5 * module.proj(X).cumsum(1))


def test_keyword_arguments_are_handed_on_and_others_refused():
    assert built(rc.mixer(classes.FromBase, dim=D, scale=0.5)).scale == 0.5
    with pytest.raises(rc.UserError, match=r"unknown option of .*'scales': did you mean 'scale'"):
        rc.mixer(classes.FromBase, dim=D, scales=0.5)


@pytest.mark.parametrize(
    ("cls", "options"), [(classes.FromConfig, {}), (classes.FromFields, {"n_head": 2})]
)
def test_a_config_object_is_built_and_a_mask_that_must_be_given_is_none(cls, options):
    module = built(rc.mixer(cls, **options))
    inner = module.inner
    assert inner.built == (classes.Sizes(D, 3, 2), 1)
    torch.testing.assert_close(outputs(module), inner.proj(X))


def test_options_of_a_config_class_are_its_fields():
    assert built(rc.mixer(classes.FromConfig, heads=4)).inner.built[0].heads == 4
    with pytest.raises(rc.UserError, match="did you mean 'heads'"):
        rc.mixer(classes.FromConfig, head=4)


def test_a_part_of_the_width():
    with pytest.raises(rc.UserError, match=r"needs the options head_dim: .*--adapt"):
        rc.mixer(classes.TwoWidths)
    module = built(rc.adapt(classes.TwoWidths, **{"d_model/2": "head_dim"}))
    assert module.proj.out_features == D
    with pytest.raises(rc.UserError, match="expected a multiple of 3, since head_dim is d_model/3"):
        built(rc.adapt(classes.TwoWidths, **{"d_model/3": "head_dim"}))


@pytest.mark.parametrize(
    "spec",
    [
        rc.adapt(classes.Recurrent, state="prev", step={"return_state": True}),
        rc.adapt(classes.OwnStep, initial_state=classes.zeros),
        rc.adapt(classes.Caching, cache="cache", cache_class=classes.Cache),
        rc.adapt(nn.GRU, d_model=("input_size", "hidden_size"), batch_first=True, state="hx"),
        rc.adapt(nn.LSTM, d_model=("input_size", "hidden_size"), layout="LBD", state="hx"),
    ],
    ids=lambda spec: spec.label,
)
def test_a_state_or_a_cache_gives_a_step_form(spec):
    module = built(spec)
    torch.testing.assert_close(stepped(module), outputs(module), rtol=1e-5, atol=1e-5)


def test_attention_of_pytorch_is_causal_with_the_mask():
    how = {"num_heads": 2, "batch_first": True}
    masked = built(rc.adapt(nn.MultiheadAttention, forward={"attn_mask": "causal"}, **how))
    mask = torch.ones(LENGTH, LENGTH).triu(1).bool()
    expected = masked.inner(X, X, X, attn_mask=mask)[0]
    torch.testing.assert_close(outputs(masked), expected)


def test_a_function_in_place_of_forward():
    module = built(rc.adapt(classes.OwnStep, forward=classes.doubled))
    torch.testing.assert_close(outputs(module), 2 * module.inner.proj(X).cumsum(1))


def test_positions_are_given_and_a_step_cannot_have_them():
    module = built(rc.mixer(classes.Positioned))
    expected = classes.numbered(module.inner, X, torch.arange(float(LENGTH))[None])
    torch.testing.assert_close(outputs(module), expected)
    with pytest.raises(rc.UserError, match="a step has no position"):
        rc.adapt(classes.Positioned, state="prev")


def test_an_adapted_class_has_a_key_of_its_own_and_comes_back_from_the_store():
    plain = rc.mixer(classes.Recurrent)
    adapted = rc.adapt(classes.Recurrent, state="prev", step={"return_state": True})
    stored = as_dict(adapted)
    assert stored["adapt"] == {
        "given": {"dim": "d_model"},
        "state": "prev",
        "step": {"return_state": True},
    }
    assert as_dict(plain) != stored
    assert as_dict(rc.MixerSpec(**stored)) == stored
    assert pickle.loads(pickle.dumps(adapted)) == adapted
    changed = {**stored, "adapt": {**stored["adapt"], "config": "a:B#0123456789abcdef"}}
    with pytest.raises(rc.UserError, match="cannot import"):
        rc.MixerSpec(**changed)


def test_a_class_that_needs_nothing_is_stored_as_ever():
    assert "adapt" not in as_dict(rc.mixer(classes.OwnStep))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_model": 3.5}, "expected its name in the class"),
        ({"cache": "a", "state": "b"}, "set only one of them"),
        ({"heads": 2}, "unknown option"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(rc.UserError, match=message):
        rc.adapt(classes.Recurrent, **options)


@pytest.fixture
def without_fla(name, monkeypatch):
    """If that package is installed, transformers uses its kernels, which need a GPU."""
    place = f"transformers.models.{HF[name].place.partition(':')[0]}"
    monkeypatch.delitem(sys.modules, place, raising=False)
    monkeypatch.setitem(sys.modules, "fla", None)


@pytest.mark.usefixtures("without_fla")
@pytest.mark.parametrize("name", HF)
def test_mixers_of_transformers(name):
    spec = rc.mixer(f"hf:{name}")
    assert spec.label == f"hf:{name}"
    module = built(spec, layer_idx=0)
    y = outputs(module)
    assert y.shape == X.shape
    assert y.isfinite().all()
    if HF[name].cache or HF[name].state:
        torch.testing.assert_close(stepped(module), y, rtol=1e-3, atol=1e-4)


def test_an_architecture_that_is_not_there():
    with pytest.raises(rc.UserError, match="did you mean 'mamba2'"):
        rc.mixer("hf:mamba-2")
    with pytest.raises(rc.UserError, match="needs the package flash-linear-attention"):
        rc.mixer("fla:GatedDeltaNet")


@pytest.fixture
def with_mamba_ssm(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).with_name("stand_ins"))
    monkeypatch.delitem(sys.modules, "mamba_ssm", raising=False)
    yield
    sys.modules.pop("mamba_ssm", None)


@pytest.mark.usefixtures("with_mamba_ssm")
@pytest.mark.parametrize("name", ["Mamba", "Mamba2", "Mamba3"])
def test_mixers_of_mamba_ssm(name):
    spec = rc.mixer(f"mamba_ssm:{name}", headdim=32)
    assert spec.label == f"mamba_ssm:{name}(headdim=32)"
    module = built(spec)
    assert (module.inner.headdim, module.inner.layer_idx) == (32, 1)
    torch.testing.assert_close(stepped(module), outputs(module))
    state = call_initial_state(module, 3)
    call_step(module, X[:, 0], state, TOKENS[:, 0])
    assert [each.abs().max() for each in state] == [0, 0]
    stored = as_dict(spec)
    functions = [stored["adapt"][kind].partition("#") for kind in ("initial_state", "step")]
    assert all(place.startswith("recollect.") and digest for place, _, digest in functions)
    assert as_dict(rc.MixerSpec(**stored)) == stored
    with pytest.raises(rc.UserError, match="unknown mixer of mamba-ssm 'Mamba4'"):
        rc.mixer("mamba_ssm:Mamba4")


def test_mamba_ssm_is_not_installed():
    with pytest.raises(rc.UserError, match="needs the package mamba-ssm: pip install mamba-ssm"):
        rc.mixer("mamba_ssm:Mamba2")
