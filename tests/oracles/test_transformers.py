"""Our mixers against the PyTorch code of the package `transformers`: same weights, same inputs."""

import pytest
import torch
from agreement import as_theirs, assert_agree, outcome, perturbed
from scipy.stats import ks_2samp
from transformers import (
    Mamba2Config,
    MambaConfig,
    RecurrentGemmaConfig,
    RecurrentGemmaModel,
    RwkvConfig,
    RwkvModel,
)
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
from transformers_pairs import D_MODEL, PAIRS, OfMamba, OfMamba2, OfRGLRU, OfRWKV4

from recollect.mixers.mamba import Mamba
from recollect.mixers.mamba2 import Mamba2
from recollect.mixers.rg_lru import RGLRU
from recollect.mixers.rwkv4 import RWKV4

LENGTHS = [1, 2, 7, 150]
"""One position, fewer than the convolutions reach, an odd number, several chunks."""
TOLERANCE = 3e-6
"""Both get float64, but parts of theirs compute in float32 all the same."""


def with_shared_weights(name):
    pair = PAIRS[name]()
    ours = dict(perturbed(pair.ours).named_parameters())
    pair.theirs.double().load_state_dict(as_theirs(ours, pair.theirs, pair.NAMES))
    return pair


def inputs(length):
    return torch.randn(3, length, D_MODEL, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients(name, length):
    pair, x = with_shared_weights(name), inputs(length)
    ours, theirs = (dict(module.named_parameters()) for module in (pair.ours, pair.theirs))
    (y,), ours = outcome(lambda: pair.ours(x), {"x": x, **ours})
    (expected,), theirs = outcome(lambda: pair.output(x), {"x": x, **theirs})
    of_x = ours.pop("x")
    ours = as_theirs(ours, pair.theirs, pair.NAMES)
    assert_agree({"y": y, "x": of_x, **ours}, {"y": expected, **theirs}, TOLERANCE)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", PAIRS)
def test_the_state_after_the_last_step(name, length):
    pair, x = with_shared_weights(name), inputs(length)
    state = pair.ours.initial_state(len(x))
    with torch.no_grad():
        for x_t in x.unbind(1):
            _, state = pair.ours.step(x_t, state)
        expected = pair.state(x)
    state.pop("position", None)
    assert_agree(state, expected, TOLERANCE)


def assert_same_start(ours, theirs, names, *, fixed=(), different=()):
    """Equal where `fixed`; drawn alike elsewhere, by a test of Kolmogorov and Smirnov."""
    ours = as_theirs(ours.state_dict(), theirs, names)
    for name, expected in theirs.state_dict().items():
        if name in fixed:
            torch.testing.assert_close(ours[name], expected, rtol=0, atol=1e-6)
        elif name not in different:
            assert ks_2samp(ours[name].flatten(), expected.flatten()).pvalue > 1e-4, name


def test_mamba_starts_alike():
    theirs = MambaMixer(MambaConfig(hidden_size=256), layer_idx=0)
    assert_same_start(Mamba(256), theirs, OfMamba.NAMES, fixed={"A_log", "D"})


def test_mamba_2_starts_alike():
    theirs = Mamba2Mixer(
        Mamba2Config(hidden_size=256, num_heads=512, head_dim=1, n_groups=1), layer_idx=0
    )
    # they count the rates up from 1; the paper's authors draw them between 1 and 16
    assert_same_start(
        Mamba2(256, head_dim=1),
        theirs,
        OfMamba2.NAMES,
        fixed={"D", "norm.weight"},
        different={"A_log"},
    )


@pytest.mark.parametrize("layer", range(3))
def test_rwkv_4_starts_alike(layer):
    model = RwkvModel(RwkvConfig(hidden_size=96, num_hidden_layers=3, vocab_size=2))
    assert_same_start(
        RWKV4(96, layer_idx=layer, n_layers=3),
        model.blocks[layer].attention,
        OfRWKV4.NAMES,
        fixed={"time_mix_receptance", "time_mix_key", "time_mix_value", "time_decay"},
        # a bracket of theirs makes time_first 1 everywhere; the paper's authors start the maps at 0
        different={"time_first", "receptance.weight", "key.weight", "output.weight"},
    )


def test_rg_lru_starts_alike():
    model = RecurrentGemmaModel(
        RecurrentGemmaConfig(
            hidden_size=256,
            lru_width=512,
            num_attention_heads=2,
            num_hidden_layers=4,
            intermediate_size=2,
            vocab_size=2,
        )
    )
    biases = {"linear_x", "linear_y", "linear_out", "conv_1d"}
    gates = {"rg_lru.input_gate", "rg_lru.recurrent_gate"}
    assert_same_start(
        RGLRU(256, 4, lru_width=512, n_blocks=2),
        model.layers[0].temporal_block,
        OfRGLRU.NAMES,
        fixed={f"{name}.bias" for name in biases} | {f"{name}_bias" for name in gates},
        # theirs have a variance of 0.01 / width; the paper's authors' 1 / width
        different={f"{name}_weight" for name in gates},
    )
