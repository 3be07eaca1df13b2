import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.errors import UserError
from recollect.ops.delta_chunks import CHUNK
from recollect.ops.delta_rule import (
    delta_rule,
    delta_rule_definition,
    delta_rule_multiply_adds,
    delta_rule_step,
)
from recollect.ops.generalized_delta_rule import (
    generalized_delta_rule,
    generalized_delta_rule_definition,
    generalized_delta_rule_multiply_adds,
    generalized_delta_rule_step,
)

pytestmark = pytest.mark.slow

D_K, D_V = 5, 3
lengths = st.integers(1, 2 * CHUNK + 3)
key_lengths = st.sampled_from([0.3, 1.0, 1.2])
steepness = st.sampled_from([0.0, 0.1, 3.0, 100.0])
"""Standard deviation of log decays."""
boldness = st.sampled_from([-20.0, 0.0, 20.0])
"""What is added to the logits of β or η: near 0, between, near 1."""

RULES = {
    "plain": (delta_rule, delta_rule_definition),
    "gated": (delta_rule, delta_rule_definition),
    "by channel": (delta_rule, delta_rule_definition),
    "two steps a token": (delta_rule, delta_rule_definition),
    "three, by channel": (delta_rule, delta_rule_definition),
    "read first": tuple(partial(f, read_first=True) for f in (delta_rule, delta_rule_definition)),
    "generalized": (generalized_delta_rule, generalized_delta_rule_definition),
}
PLACE_OF_DECAY = {"gated": 4, "by channel": 4, "generalized": 5}
STEPS = {"two steps a token": 2, "three, by channel": 3}


def arguments(rule, length, *, key_length=1.0, steep=1.0, bold=0.0, leading=(2,), d_k=D_K, d_v=D_V):
    """Random arguments of a rule, in float64."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, *shape, dtype=torch.float64, generator=generator)

    def key():
        return key_length * F.normalize(normal(length, d_k), dim=-1)

    tokens, length = length, length * STEPS.get(rule, 1)
    q, v = normal(tokens, d_k), normal(length, d_v)
    if rule == "generalized":
        rate = (normal(length, d_k) + bold).sigmoid()
        inputs = [q, key(), v, key(), rate, -steep * normal(length, d_k).abs()]
    else:
        inputs = [q, key(), v, (normal(length) + bold).sigmoid()]
        if rule != "plain":
            inputs.append(-steep * normal(tokens, d_k if "channel" in rule else 1).abs())
        if "channel" in rule or "first" in rule:
            inputs.append(normal(length, d_k).sigmoid() * inputs[1])
    return [x.requires_grad_() for x in inputs]


def outcome(function, inputs):
    """Outputs, last state, and the gradients of a random sum of both."""
    y, state = function(*inputs)
    generator = torch.Generator().manual_seed(0)
    loss = sum(
        (x * torch.randn(x.shape, dtype=torch.float64, generator=generator)).sum()
        for x in (y, state)
    )
    return [y, state, *torch.autograd.grad(loss, inputs)]


def assert_close(actual, expected, relative):
    for a, b in zip(actual, expected, strict=True):
        assert a.isfinite().all()
        assert (a - b).norm() <= relative * b.norm() + 1e-30


def assert_equals_definition(rule, inputs, relative=1e-9):
    fast, definition = RULES[rule]
    assert_close(outcome(fast, inputs), outcome(definition, inputs), relative)


def test_the_definition_by_hand():
    k = torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 0.0]])
    v = torch.tensor([[10.0], [20.0], [30.0]])
    q = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    beta = torch.tensor([0.5, 1.0, 1.0])
    # first 5 at (1, 0); then (0.6, 0.8) holds 3, and 17 more is written there
    y, state = delta_rule_definition(q, k, v, beta)
    torch.testing.assert_close(y, torch.tensor([[10.0], [5 + 17 * 1.4], [30.0]]))
    torch.testing.assert_close(state, torch.tensor([[30.0], [13.6]]))
    # with half of the memory kept: (0.6, 0.8) holds 1.5, and 18.5 more is written
    log_decay = torch.tensor([[0.5], [0.5], [1.0]]).log()
    y, _ = delta_rule_definition(q, k, v, beta, log_decay)
    torch.testing.assert_close(y, torch.tensor([[10.0], [2.5 + 18.5 * 1.4], [30.0]]))


def test_the_generalized_definition_by_hand():
    ones = torch.ones(1, 2)
    first = generalized_delta_rule_definition(
        ones, torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0]]), ones, ones, 0 * ones
    )
    torch.testing.assert_close(first, (torch.tensor([[70.0]]), torch.tensor([[30.0], [40.0]])))
    _, state = generalized_delta_rule_step(
        q_t=torch.tensor([1.0, 0.0]),
        k_t=torch.tensor([0.0, 1.0]),
        v_t=torch.tensor([7.0]),
        removal_key_t=torch.tensor([0.6, 0.8]),  # where the memory holds 50
        rate_t=torch.tensor([0.5, 1.0]),
        state=first[1],
        log_decay_t=torch.tensor([0.5, 0.25]).log(),
    )
    torch.testing.assert_close(state, torch.tensor([[15 - 50 * 0.3], [10 - 50 * 0.8 + 7]]))


def test_a_value_replaces_the_one_before_it_at_its_key():
    k = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 1]]
    v = torch.randn(4, 3, dtype=torch.float64)
    _, state = delta_rule(k, k, v, torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(state, torch.stack([v[0], v[3], v[2], 0 * v[0]]))


def test_a_fraction_of_a_step_is_refused():
    q, k, v, beta = (x.detach() for x in arguments("plain", 6))
    with pytest.raises(UserError, match="6 keys for 4 queries: expected the same number"):
        delta_rule(q[:, :4], k, v, beta)


@given(lengths, key_lengths, boldness)
def test_the_plain_rule_equals_its_definition(length, key_length, bold):
    inputs = arguments("plain", length, key_length=key_length, bold=bold)
    assert_equals_definition("plain", inputs)


@given(lengths, key_lengths, steepness, boldness)
def test_the_gated_rule_equals_its_definition(length, key_length, steep, bold):
    inputs = arguments("gated", length, key_length=key_length, steep=steep, bold=bold)
    assert_equals_definition("gated", inputs)


@given(
    lengths,
    key_lengths,
    steepness,
    boldness,
    st.sampled_from(["by channel", "two steps a token", "three, by channel", "read first"]),
)
def test_other_rules_equal_their_definition(length, key_length, steep, bold, rule):
    inputs = arguments(rule, length, key_length=key_length, steep=steep, bold=bold)
    assert_equals_definition(rule, inputs)


@given(lengths, key_lengths, steepness, boldness)
def test_the_generalized_rule_equals_its_definition(length, key_length, steep, bold):
    inputs = arguments("generalized", length, key_length=key_length, steep=steep, bold=bold)
    assert_equals_definition("generalized", inputs)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK])
def test_borders_of_chunks(rule, length):
    assert_equals_definition(rule, arguments(rule, length))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steep", [1e-3, 1.0, 300.0])
def test_long_sequences_in_single_precision(rule, steep):
    inputs = arguments(rule, 4095, steep=steep, leading=(), d_k=8, d_v=4)
    expected = outcome(RULES[rule][0], inputs)
    single = outcome(RULES[rule][0], [x.detach().float().requires_grad_() for x in inputs])
    assert_close(single, expected, 1e-5)


@pytest.mark.parametrize("rule", ["gated", "generalized"])
def test_a_long_sequence_equals_its_definition(rule):
    inputs = arguments(rule, 1023, steep=0.01, leading=(), d_k=4, d_v=2)
    assert_equals_definition(rule, inputs)


@pytest.mark.parametrize("rule", ["gated", "by channel", "generalized"])
def test_a_weak_decay_after_a_strong_one_keeps_its_digits(rule):
    inputs = [x.detach() for x in arguments(rule, 2 * CHUNK, steep=0.01)]
    inputs[PLACE_OF_DECAY[rule]][:, CHUNK // 2] = -1e5
    assert_equals_definition(rule, [x.requires_grad_() for x in inputs])
    fast = RULES[rule][0]
    single = fast(*(x.detach().float() for x in inputs))
    assert_close(single, fast(*inputs), 1e-6)


@pytest.mark.parametrize("rule", ["gated", "by channel", "generalized"])
def test_a_decay_to_nothing_forgets_all(rule):
    inputs = [x.detach() for x in arguments(rule, 50)]
    inputs[PLACE_OF_DECAY[rule]][:, 20] = -math.inf
    inputs = [x.requires_grad_() for x in inputs]
    assert_equals_definition(rule, inputs)
    if rule != "generalized":
        y, state = delta_rule(*inputs)
        fresh_y, fresh_state = delta_rule(*(x[:, 20:] for x in inputs))
        torch.testing.assert_close(y[:, 20:], fresh_y)
        torch.testing.assert_close(state, fresh_state)


def test_equal_keys_with_full_replacement_stay_exact():
    """All entries below the diagonal are 1, the worst case for powers of the matrix."""
    k = torch.ones(4 * CHUNK, 1)
    v = torch.randn(4 * CHUNK, 2)
    y, state = delta_rule(k, k, v, torch.ones(4 * CHUNK))
    torch.testing.assert_close(y, v, rtol=0, atol=1e-5)
    torch.testing.assert_close(state[0], v[-1], rtol=0, atol=1e-5)


@given(lengths, steepness)
def test_the_gated_rule_is_a_generalized_one(length, steep):
    q, k, v, beta, log_decay = arguments("gated", length, steep=steep)
    rate = (log_decay.exp() * beta[..., None]).expand_as(k)
    generalized = generalized_delta_rule(q, beta[..., None] * k, v, k, rate, log_decay.expand_as(k))
    assert_close(generalized, delta_rule(q, k, v, beta, log_decay), 1e-9)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in STEPS])
def test_steps_equal_the_definition_and_leave_the_state_as_it_was(rule):
    inputs = [x.detach() for x in arguments(rule, 40)]
    n_before_decay = 5 if rule == "generalized" else 4
    step = generalized_delta_rule_step if rule == "generalized" else delta_rule_step
    step = partial(step, read_first=True) if rule == "read first" else step
    state, outputs = torch.zeros(2, D_K, D_V, dtype=torch.float64), []
    for t in range(40):
        now, before = [x[:, t] for x in inputs], state.clone()
        y_t, new = step(*now[:n_before_decay], state, *now[n_before_decay:])
        assert torch.equal(state, before)
        outputs.append(y_t)
        state = new
    expected_y, expected_state = RULES[rule][0](*inputs)
    torch.testing.assert_close(torch.stack(outputs, 1), expected_y)
    torch.testing.assert_close(state, expected_state)


@pytest.mark.parametrize("rule", RULES)
def test_leading_dimensions_broadcast_and_vmap(rule):
    fast, definition = RULES[rule]
    inputs = [x.detach() for x in arguments(rule, 37, leading=(3, 2))]
    whole = fast(*inputs)
    for mapped, expected in zip(vmap(fast)(*inputs), whole, strict=True):
        torch.testing.assert_close(mapped, expected)
    for i in range(1, len(inputs)):
        mixed = [x[:, :1] if j == i else x[0] for j, x in enumerate(inputs)]  # (3, 1) and (2,)
        y, state = fast(*mixed)
        assert (y.shape, state.shape) == ((3, 2, 37, D_V), (3, 2, D_K, D_V))
        alone = definition(*(x[2, 0] if j == i else x[1] for j, x in enumerate(mixed)))
        torch.testing.assert_close(y[2, 1], alone[0])
        torch.testing.assert_close(state[2, 1], alone[1])
        in_dims = tuple(0 if j == i else None for j in range(len(inputs)))
        torch.testing.assert_close(vmap(fast, in_dims=in_dims)(*mixed)[0], y)


class Counter(TorchDispatchMode):
    """Counts the multiply-adds of matrix products and triangular systems."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket
        if name in (torch.ops.aten.bmm, torch.ops.aten.mm):
            self.count += args[0].numel() * args[1].shape[-1]
        elif name is torch.ops.aten.linalg_solve_triangular:
            below_the_diagonal = torch.ones_like(args[0]).tril(-1).sum()
            self.count += int(below_the_diagonal) * args[1].shape[-1]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("length", [1, 5, CHUNK, CHUNK + 1, 100])
def test_multiply_adds(length):
    for rule, declared in (
        ("gated", delta_rule_multiply_adds),
        ("by channel", partial(delta_rule_multiply_adds, by_channel=True)),
        ("generalized", generalized_delta_rule_multiply_adds),
    ):
        q, k, *shared = arguments(rule, length, leading=())
        some_shared = [q.repeat(7, 1, 1), k.repeat(7, 1, 1), *shared]
        for inputs in (arguments(rule, length, leading=(7,)), some_shared):
            with torch.no_grad(), Counter() as counter:
                RULES[rule][0](*inputs)
            assert counter.count == 7 * declared(length, D_K, D_V)
            assert counter.count == RULES[rule][0].multiply_adds(*inputs)
