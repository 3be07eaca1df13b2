"""The delta rule that reads the old value before its state decays, against Comba's paper."""

import math

import pytest
import torch
from test_delta_rule import arguments, assert_close, outcome

from recollect.ops.delta_chunks import CHUNK
from recollect.ops.delta_rule import delta_rule, delta_rule_definition
from recollect.ops.generalized_delta_rule import generalized_delta_rule

pytestmark = pytest.mark.slow


def papers(q, k, v, beta, log_decay, erase_key):
    """S_t = S_{t-1} (α_t - β_t p_t k_t') + β_t v_t k_t', with S of d_v rows; equation 5 of arXiv
    2506.02475 has p_t as a share of k_t."""
    state, outputs = v.new_zeros(*v.shape[:-2], v.shape[-1], k.shape[-1]), []
    for t in range(k.shape[-2]):
        q_t, k_t, p_t, v_t = (x[..., t, :, None] for x in (q, k, erase_key, v))
        beta_t, w_t = beta[..., t, None, None], log_decay[..., t, :].exp()
        state = state @ (torch.diag_embed(w_t.expand_as(k_t[..., 0])) - beta_t * p_t @ k_t.mT)
        state = state + beta_t * v_t @ k_t.mT
        outputs.append((state @ q_t).squeeze(-1))
    return torch.stack(outputs, -2), state.mT


def reading_first(*inputs):
    return delta_rule(*inputs, read_first=True)


@pytest.mark.parametrize("length", [1, CHUNK, 2 * CHUNK + 3])
@pytest.mark.parametrize("steep", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("rule", ["read first", "by channel"])
def test_it_is_the_recurrence_of_the_paper(rule, steep, length):
    inputs = arguments(rule, length, steep=steep)
    expected = outcome(papers, inputs)
    assert_close(outcome(reading_first, inputs), expected, 1e-9)
    definition = outcome(lambda *x: delta_rule_definition(*x, read_first=True), inputs)
    assert_close(definition, expected, 1e-9)


def test_it_is_a_generalized_rule():
    q, k, v, beta, log_decay = arguments("gated", 50)
    generalized = generalized_delta_rule(
        q, beta[..., None] * k, v, k, beta[..., None].expand_as(k), log_decay.expand_as(k)
    )
    assert_close(generalized, reading_first(q, k, v, beta, log_decay), 1e-9)


def test_what_it_erases_is_not_decayed():
    """The state holds 10; half of it is kept, all of it is erased, and 4 is written."""
    k, v = torch.ones(2, 1), torch.tensor([[10.0], [4.0]])
    log_decay = torch.tensor([[1.0], [0.5]]).log()
    for first, expected in ((False, 4.0), (True, 5.0 - 10.0 + 4.0)):
        _, state = delta_rule(k, k, v, torch.ones(2), log_decay, read_first=first)
        assert state.item() == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["read first", "by channel"])
def test_a_decay_to_nothing_leaves_what_is_read_before_it(rule):
    inputs = [x.detach() for x in arguments(rule, 50)]
    inputs[4][:, 20] = -math.inf
    inputs = [x.requires_grad_() for x in inputs]
    expected = outcome(lambda *x: delta_rule_definition(*x, read_first=True), inputs)
    assert_close(outcome(reading_first, inputs), expected, 1e-9)


@pytest.mark.parametrize("rule", ["two steps a token", "three, by channel"])
def test_only_the_first_step_of_a_token_reads_first(rule):
    q, k, v, beta, *given = arguments(rule, 20)
    length, steps = q.shape[-2], k.shape[-2] // q.shape[-2]
    log_decay = given[0] if given else None
    erase_key = given[1] if len(given) > 1 else k
    # each step is a token of its own, whose decay is 1 unless it is the first
    spread = log_decay.new_zeros(2, length, steps, log_decay.shape[-1])
    spread[:, :, 0] = log_decay.detach()
    queries = q.repeat_interleave(steps, -2)
    y, state = papers(queries, k, v, beta, spread.flatten(1, 2), erase_key)
    actual = reading_first(q, k, v, beta, log_decay, erase_key)
    assert_close(actual, (y[:, steps - 1 :: steps], state), 1e-9)
