"""Requirements on every mixer and layer pattern of the catalogue; new ones are tested at once.

The referee judges each one like a user's mixer; the tests below check further requirements.
"""

import sys
import warnings
from typing import Any

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from recollect.mixers.catalogue import MIXERS, mixer
from recollect.mixers.patterns import PATTERNS
from recollect.models.calling import reads_tokens, takes_positions
from recollect.referee.check import CHECKS, FIRST, contexts, judge

pytestmark = pytest.mark.slow

D_MODEL, MAX_LEN, SHORTER = 64, 133, 69
"""Odd lengths, past the chunks of the fast forms; the shorter one is for variants of a mixer."""

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "attention": [
        {"n_heads": 4, "qkv_conv": 3},
        {"window": 5, "bias": False},
        {"window": 48, "n_heads": 2},
    ],
    "base-conv": [{"kernel_size": 12}],
    "gated-delta-net-2": [{"negative_eigenvalues": True}],
    "h3": [
        {"d_state": 6, "head_dim": 4},
        {"d_state": None, "head_dim": 2},
        {"d_state": None, "train_B": True},
    ],
    "hyena": [{"emb_dim": 5, "short_filter_order": 1}],
    "hymba": [{"n_heads": 2, "window": 5, "expand": 1}],
    "input-dependent-conv": [{"kernel_size": 1, "filler": None}],
    "kda": [{"negative_eigenvalues": True}],
    "mamba": [{"inner_norms": True, "dt_rank": 3}],
    "mamba3": [{"mimo_rank": 2, "d_state": 10}],
    "mla": [{"rotated": False, "n_heads": 2}],
    "moba": [{"n_heads": 4, "block_size": 16, "n_blocks": 2}],
    "rg-lru": [{"lru_width": 96, "d_conv": 2, "n_blocks": 8}],
    "sliding-window": [{"window": 5}],
    "sparse-attention": [
        {"selection": "learned", "n_heads": 4},
        {"selection": "random", "share": 0.5},
        {"selection": "all"},
    ],
}
"""Options under which a mixer computes otherwise than by default."""


def subjects():
    for name in MIXERS:
        yield from contexts(name, d_model=D_MODEL, max_len=MAX_LEN)
        for options in VARIANTS.get(name, []):
            yield contexts(mixer(name, **options), d_model=D_MODEL, max_len=SHORTER)[0]
    for name in PATTERNS:
        yield contexts(name, d_model=D_MODEL // 2, max_len=MAX_LEN)[0]


def in_words(subject):
    return "-".join([subject.config.label, *subject.context.split()])


@pytest.fixture(params=list(subjects()), ids=in_words)
def subject(request):
    return request.param


CHECKED_SHAPES = (FIRST, "output positions", "step form")
"""The referee's checks that make every kind of call: here their shapes are checked too."""


@pytest.mark.parametrize("check", CHECKED_SHAPES)
def test_the_referee_accepts_its_calls(subject, check):
    assert_accepted(subject, check)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("check", [name for name in CHECKS if name not in CHECKED_SHAPES])
def test_the_referee_accepts_its_results(subject, check):
    assert_accepted(subject, check)


def assert_accepted(subject, check):
    verdict = judge(check, subject)
    has_path = check != "output positions" or takes_positions(subject.build())
    assert verdict.status == ("pass" if has_path else "not offered"), verdict.evidence


@pytest.mark.parametrize("name", list(MIXERS))
def test_its_file_shows_its_equations(name):
    described = sys.modules[MIXERS[name].cls.__module__].__doc__
    shown = [line for line in described.splitlines() if line.startswith("    ") and " = " in line]
    assert shown, "begin the file with its equations, indented in the docstring"


def assert_close(actual, expected, relative=1e-9):
    """Equal up to an error relative to the largest value."""
    assert actual.shape == expected.shape
    scale = expected.abs().max().item()
    assert (actual - expected).abs().max().item() <= relative * scale


def test_it_computes_in_double_precision_and_single_agrees(subject):
    x, tokens = subject.sequences(subject.lengths[-1], dtype=torch.float64)
    double = subject.run(subject.build(dtype=torch.float64), x, tokens)
    single = subject.run(subject.build(dtype=torch.float32), x.float(), tokens)
    assert subject.precision.dtype == torch.float64
    assert_close(single.double(), double, relative=1e-3)


def test_strides_do_not_matter(subject):
    module, (x, tokens) = subject.build(), subject.sequences(subject.lengths[-1])
    strided = x.transpose(0, 2).contiguous().transpose(0, 2)
    # without the copy that the referee hands to a module
    arguments = (strided, tokens) if reads_tokens(module) else (strided,)
    assert_close(module(*arguments), subject.run(module, x, tokens))


def test_positions_hear_of_earlier_ones(subject):
    module, (x, tokens) = subject.build(), subject.sequences(subject.lengths[-1])
    half = x.shape[1] // 2
    second_half = subject.run(module, x.requires_grad_(), tokens)[:, half:]
    (gradient,) = torch.autograd.grad(second_half.square().sum(), x)
    assert gradient[:, :half].abs().max() > 0


def test_another_seed_gives_other_weights(subject):
    one, other = (subject.build(seed, perturbed=False).state_dict() for seed in (3, 4))
    assert any(not torch.equal(other[name], weights) for name, weights in one.items())


def test_stored_weights_are_all_there_is(subject):
    stored, fresh = subject.build(1), subject.build(2)
    fresh.load_state_dict(stored.state_dict())
    x, tokens = subject.sequences(subject.lengths[-1])
    assert torch.equal(subject.run(fresh, x, tokens), subject.run(stored, x, tokens))


def test_a_population_runs_as_one(subject):
    modules, (x, tokens) = [subject.build(seed) for seed in range(2)], subject.sequences(21)
    parameters, buffers = stack_module_state(modules)
    arguments = (x, tokens) if reads_tokens(modules[0]) else (x,)

    def loss(parameters, buffers):
        return functional_call(modules[0], (parameters, buffers), arguments).square().sum()

    with warnings.catch_warnings():  # that PyTorch runs attention on the CPU one model at a time
        warnings.filterwarnings("ignore", "There is a performance drop")
        losses = vmap(loss, randomness="different")(parameters, buffers)
        losses.sum().backward()
    for i, module in enumerate(modules):
        alone = subject.run(module, x, tokens).square().sum()
        alone.backward()
        assert_close(losses[i], alone)
        for name, parameter in module.named_parameters():
            assert_close(parameters[name].grad[i], parameter.grad)
