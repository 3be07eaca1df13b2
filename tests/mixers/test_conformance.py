"""What every mixer of the catalogue promises; an entry is tested once it is registered."""

import inspect
import warnings
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from recollect.mixers.catalogue import MIXERS, mixer

D_MODEL, BATCH, MAX_LEN, VOCAB = 64, 3, 133, 7
LENGTHS = (1, 2, 7, 64, MAX_LEN)  # odd ones, and one past the chunks of the fast forms
EXACT = 1e-9

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "attention": [
        {"n_heads": 4, "qkv_conv": 3},
        {"window": 5, "bias": False},
        {"window": 48, "n_heads": 2},
    ],
    "base-conv": [{"kernel_size": 12}],
    "h3": [{"d_state": 6, "head_dim": 4}],
    "hyena": [{"emb_dim": 5, "short_filter_order": 1}],
    "input-dependent-conv": [{"kernel_size": 1, "filler": None}],
    "rg-lru": [{"lru_width": 96, "d_conv": 2, "n_blocks": 8}],
    "sliding-window": [{"window": 5}],
    "sparse-attention": [
        {"selection": "learned", "n_heads": 4},
        {"selection": "random", "share": 0.5},
        {"selection": "all"},
    ],
}
"""Options under which a mixer computes otherwise than by default."""


@dataclass(frozen=True)
class Case:
    """One way to build a mixer."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    layer_idx: int = 0
    rope: bool = False

    def __str__(self) -> str:
        layer = f"layer{self.layer_idx}" if self.layer_idx else ""
        words = [mixer(self.name, **self.options).label, layer, "rope" if self.rope else ""]
        return "-".join(word for word in words if word)

    def build(self, seed=0, dtype=torch.float64):
        torch.manual_seed(seed)
        module = mixer(self.name, **self.options).build(
            d_model=D_MODEL,
            max_len=MAX_LEN,
            layer_idx=self.layer_idx,
            n_layers=2,
            rope=self.rope,
        )
        return module.to(dtype)

    def perturbed(self, seed=0, dtype=torch.float64):
        """Away from zeros and other special values that an initialisation may have."""
        module = self.build(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return module.to(dtype)


def all_cases():
    for name in MIXERS:
        spec = mixer(name)
        yield Case(name)
        if spec.takes("layer_idx"):
            yield Case(name, layer_idx=1)
        if spec.takes("rope"):
            yield Case(name, rope=True)
        for options in VARIANTS.get(name, []):
            yield Case(name, options)


@pytest.fixture(params=all_cases(), ids=str)
def case(request):
    return request.param


def sequences(length=MAX_LEN, batch=BATCH, seed=0, dtype=torch.float64):
    """Inputs, and the ids of the tokens they stand for."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCAB, (batch, length), generator=generator)
    x = torch.randn(batch, length, D_MODEL, generator=generator, dtype=torch.float64)
    return x.to(dtype), tokens


def reads_tokens(module):
    return "tokens" in inspect.signature(module.forward).parameters


def run(module, x, tokens):
    return module(x, tokens) if reads_tokens(module) else module(x)


def run_steps(module, x, tokens, state=None):
    """All outputs of the step form, and the last state."""
    state = module.initial_state(x.shape[0]) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        seen = (tokens[:, t],) if reads_tokens(module) else ()
        y_t, state = module.step(x[:, t], state, *seen)
        outputs.append(y_t)
    return torch.stack(outputs, 1), state


def assert_close(actual, expected, relative=EXACT):
    """Equal up to an error relative to the largest value."""
    assert actual.shape == expected.shape
    scale = expected.abs().max().item()
    assert (actual - expected).abs().max().item() <= relative * scale


@pytest.mark.parametrize("length", LENGTHS)
def test_the_output_has_the_input_s_shape_and_type(case, length):
    module = case.build(dtype=torch.float32)
    x, tokens = sequences(length, dtype=torch.float32)
    y = run(module, x, tokens)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert y.isfinite().all()


def test_single_precision_agrees_with_double(case):
    x, tokens = sequences()
    single = run(case.perturbed(dtype=torch.float32), x.float(), tokens)
    assert_close(single.double(), run(case.perturbed(), x, tokens), relative=1e-3)


def test_strides_do_not_matter(case):
    module, (x, tokens) = case.perturbed(), sequences()
    strided = x.transpose(0, 2).contiguous().transpose(0, 2)
    assert_close(run(module, strided, tokens), run(module, x, tokens))


@pytest.mark.parametrize("length", LENGTHS[:-1])
def test_a_shorter_sequence_gives_the_same_outputs(case, length):
    module, (x, tokens) = case.perturbed(), sequences()
    expected = run(module, x, tokens)[:, :length]
    assert_close(run(module, x[:, :length], tokens[:, :length]), expected)


@pytest.mark.parametrize(("length", "last"), [(2, 0), (13, 6), (MAX_LEN, 0), (MAX_LEN, 63)])
def test_what_comes_later_changes_nothing(case, length, last):
    module, (x, tokens) = case.perturbed(), sequences(length)
    other_x, other_tokens = sequences(length, seed=1)
    other_x[:, : last + 1], other_tokens[:, : last + 1] = x[:, : last + 1], tokens[:, : last + 1]
    before = run(module, x, tokens)[:, : last + 1]
    assert_close(run(module, other_x, other_tokens)[:, : last + 1], before)


@pytest.mark.parametrize("last", [0, 31, 100])
def test_no_gradient_flows_to_what_comes_later(case, last):
    module, (x, tokens) = case.perturbed(), sequences()
    x.requires_grad_()
    y = run(module, x, tokens)[:, : last + 1]
    (gradient,) = torch.autograd.grad((y * torch.randn_like(y)).sum(), x)
    largest = gradient.abs().max()
    assert largest > 0 or last == 0  # where a mixer may have nothing to say
    assert gradient[:, last + 1 :].abs().max() <= EXACT * largest


def test_positions_hear_of_earlier_ones(case):
    module, (x, tokens) = case.perturbed(), sequences()
    x.requires_grad_()
    second_half = run(module, x, tokens)[:, MAX_LEN // 2 :]
    (gradient,) = torch.autograd.grad(second_half.square().sum(), x)
    assert gradient[:, : MAX_LEN // 2].abs().max() > 0


def test_the_rows_of_a_batch_are_independent(case):
    module, (x, tokens) = case.perturbed(), sequences()
    together = run(module, x, tokens)
    alone = [run(module, x[i : i + 1], tokens[i : i + 1]) for i in range(BATCH)]
    assert_close(torch.cat(alone), together)


def test_every_parameter_learns(case):
    module, (x, tokens) = case.perturbed(dtype=torch.float32), sequences(dtype=torch.float32)
    run(module, x, tokens).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_weights_depend_on_the_seed_alone(case):
    one = case.build(seed=3).state_dict()
    again, other = case.build(seed=3).state_dict(), case.build(seed=4).state_dict()
    assert all(torch.equal(again[name], weights) for name, weights in one.items())
    assert any(not torch.equal(other[name], weights) for name, weights in one.items())


def test_stored_weights_are_all_there_is(case):
    stored, fresh = case.perturbed(seed=1), case.build(seed=2)
    fresh.load_state_dict(stored.state_dict())
    x, tokens = sequences()
    assert torch.equal(run(fresh, x, tokens), run(stored, x, tokens))


def test_steps_equal_the_whole_sequence(case):
    module, (x, tokens) = case.perturbed(), sequences()
    with torch.no_grad():
        assert_close(run_steps(module, x, tokens)[0], run(module, x, tokens), relative=1e-8)


def test_two_sequences_that_share_a_beginning_do_not_disturb_each_other(case):
    module = case.perturbed()
    (x, tokens), (other_x, other_tokens) = sequences(12), sequences(12, seed=1)
    other_x[:, :5], other_tokens[:, :5] = x[:, :5], tokens[:, :5]
    with torch.no_grad():
        _, state = run_steps(module, x[:, :5], tokens[:, :5])
        one = other = state
        for t in range(5, 12):
            now = slice(t, t + 1)
            y, one = run_steps(module, x[:, now], tokens[:, now], one)
            other_y, other = run_steps(module, other_x[:, now], other_tokens[:, now], other)
        assert_close(y[:, -1], run(module, x, tokens)[:, -1], relative=1e-8)
        expected = run(module, other_x, other_tokens)[:, -1]
        assert_close(other_y[:, -1], expected, relative=1e-8)


def test_a_population_runs_as_one(case):
    modules, (x, tokens) = [case.perturbed(seed) for seed in range(2)], sequences(21)
    parameters, buffers = stack_module_state(modules)
    arguments = (x, tokens) if reads_tokens(modules[0]) else (x,)

    def loss(parameters, buffers):
        return functional_call(modules[0], (parameters, buffers), arguments).square().sum()

    with warnings.catch_warnings():  # that PyTorch runs attention on the CPU one model at a time
        warnings.filterwarnings("ignore", "There is a performance drop")
        losses = vmap(loss, randomness="different")(parameters, buffers)
        losses.sum().backward()
    for i, module in enumerate(modules):
        alone = run(module, x, tokens).square().sum()
        alone.backward()
        assert_close(losses[i], alone)
        for name, parameter in module.named_parameters():
            assert_close(parameters[name].grad[i], parameter.grad)
