"""Mixers say which weights act only in long sequences: those without gradient in shorter ones."""

import pytest
import torch

from recollect.mixers.catalogue import MIXERS, as_spec, mixer
from recollect.mixers.length_weights import has_untrained
from recollect.models.calling import reads_tokens
from recollect.models.config import ModelConfig

LONGEST = 64


def idle(spec, length):
    """Where weights have no gradient from sequences of `length` tokens, for several weights."""
    found = {}
    for seed in range(4):
        torch.manual_seed(seed)
        context = {"max_len": LONGEST, "layer_idx": 1, "n_layers": 2}
        module = spec.build(d_model=16, rope=False, qkv_canon=False, **context)
        tokens = {"tokens": torch.randint(4, (8, length))} if reads_tokens(module) else {}
        module(torch.randn(8, length, 16), **tokens).square().sum().backward()
        for name, weight in module.named_parameters():
            none = weight.new_ones(weight.shape) if weight.grad is None else weight.grad == 0
            found[name] = found.get(name, True) & none.bool()
    return found


def wakes(spec, trained, tested):
    """Whether some weights have a gradient at the longer length alone."""
    before, after = idle(spec, trained), idle(spec, tested)
    return any((before[name] & ~after[name]).any() for name in before)


@pytest.mark.parametrize("name", MIXERS.names())
def test_every_mixer_says_whether_weights_wait_for_longer_sequences(name):
    assert has_untrained(as_spec(name), 16, LONGEST) == wakes(as_spec(name), 16, LONGEST)


@pytest.mark.parametrize(
    ("spec", "trained", "tested"),
    [
        (as_spec("log-linear-mamba2"), 40, LONGEST),  # one more level begins after 64
        (as_spec("log-linear-gated-delta-net"), 40, LONGEST),
        (mixer("h3", d_state=8), 16, LONGEST),  # fewer taps than trained positions
        (mixer("h3", d_state=None), 16, LONGEST),
        (as_spec("long-conv"), LONGEST, LONGEST),
    ],
)
def test_what_acts_depends_on_both_lengths_and_the_options(spec, trained, tested):
    assert has_untrained(spec, trained, tested) == wakes(spec, trained, tested)


def test_one_layer_of_a_model_suffices():
    model = ModelConfig(mixer=["attention", "long-conv"], d_model=8)
    assert model.has_untrained_weights(16, 17)
    assert not model.replace(mixer="attention").has_untrained_weights(16, 17)
