"""Our memories against the naive references of flash-linear-attention."""

import pytest
import torch
import torch.nn.functional as F
from agreement import assert_agree, outcome, perturbed
from fla_naive import BATCH, LENGTHS, SCALE, TOLERANCE, arguments, naive, turned

from recollect.mixers.based import TaylorLinearAttention
from recollect.mixers.linear_attention import LinearAttention
from recollect.mixers.retnet import RetNet
from recollect.ops.delta_rule import delta_rule
from recollect.ops.feature_maps import taylor_features
from recollect.ops.generalized_delta_rule import generalized_delta_rule
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_definition
from recollect.ops.rotary import rotary


def our_delta_rule(q, k, v, beta, log_decay=None):
    log_decay = None if log_decay is None else log_decay[..., None]
    return delta_rule(SCALE * q, k, v, beta, log_decay)


def our_delta_rule_by_channel(q, k, v, beta, channel_decay):
    return delta_rule(SCALE * q, k, v, beta, channel_decay)


def our_erasing_and_writing(q, k, v, erasing, writing, channel_decay):
    ones = torch.ones_like(v[..., 0])
    return delta_rule(SCALE * q, k, writing * v, ones, channel_decay, erasing * k)


def our_reading_first(q, k, v, removal_key, beta, log_decay):
    return delta_rule(SCALE * q, k, v, beta, log_decay[..., None], removal_key, read_first=True)


def our_delta_product(q, k, v, removal_key, beta, log_decay):
    """The second step of a token writes at the removal key."""
    k, v, beta = (steps.flatten(2, 3) for steps in two_steps(k, v, removal_key, beta))
    return delta_rule(SCALE * q, k, v, beta, log_decay[..., None])


def two_steps(k, v, removal_key, beta):
    """Keys, values and strengths, two for each token in dimension 3."""
    return torch.stack([k, removal_key], 3), torch.stack([v, -v], 3), torch.stack([beta] * 2, 3)


def their_delta_rule(q, k, v, beta):
    return naive("delta_rule").delta_rule_recurrence(q, k, v, beta)


def their_gated_delta_rule(q, k, v, beta, log_decay):
    y, state = naive("gated_delta_rule").naive_recurrent_gated_delta_rule(
        *turned(q, k, v, beta, log_decay), output_final_state=True
    )
    return *turned(y), state


def their_delta_rule_by_channel(q, k, v, beta, channel_decay):
    y, state = naive("kda").naive_recurrent_kda(
        *turned(q, k, v, channel_decay, beta), output_final_state=True
    )
    return *turned(y), state


def their_erasing_and_writing(q, k, v, erasing, writing, channel_decay):
    y, state = naive("gdn2").naive_recurrent_gdn2(
        *turned(q, k, v, channel_decay, erasing, writing), output_final_state=True
    )
    return *turned(y), state


def their_reading_first(q, k, v, removal_key, beta, log_decay):
    """Their tests hold their kernels against this one, and `naive_recurrent_comba` differs from it.
    Of strong decays its gradient is nan: it masks a quotient that overflows."""
    y, state = naive("comba").naive_chunk_comba(
        *turned(q, k, v, removal_key, log_decay, beta), output_final_state=True
    )
    return *turned(y), state


def their_delta_product(q, k, v, removal_key, beta, log_decay):
    k, v, beta = (steps.flatten(2, 3) for steps in two_steps(k, v, removal_key, beta))
    y, state = naive("gated_delta_product").naive_recurrent_gated_delta_product(
        *turned(q, k, v, log_decay, beta), scale=SCALE, cu_seqlens=None, num_householder=2
    )
    return *turned(y), state


def our_generalized_delta_rule(q, k, v, removal_key, rate, channel_decay):
    return generalized_delta_rule(SCALE * q, k, v, removal_key, rate, channel_decay)


def their_generalized_delta_rule(q, k, v, removal_key, rate, channel_decay):
    """Theirs adds beta_t (alpha_t' S_{t-1}) where ours takes away; it leaves alpha in float64."""
    return naive("generalized_delta_rule/dplr").dplr_recurrence(
        q, k, v, alpha=-removal_key.float(), beta=rate * removal_key, gk=channel_decay
    )


def our_memory(q, k, v, log_decay=None):
    _, state = outer_product_memory_definition(q, k, v, log_decay)
    return outer_product_memory(SCALE * q, k, v, log_decay), state


def our_memory_of_one_decay(q, k, v, log_decay):
    return our_memory(q, k, v, log_decay[..., None])


def their_memory(q, k, v):
    y, state = naive("linear_attn").naive_recurrent_linear_attn(
        *turned(q, k, v), output_final_state=True
    )
    return *turned(y), state


def their_memory_of_one_decay(q, k, v, log_decay):
    y, state = naive("simple_gla").naive_recurrent_simple_gla(*turned(q, k, v, log_decay))
    return *turned(y), state


def their_memory_of_many_decays(q, k, v, channel_decay):
    y, state = naive("gla").naive_recurrent_gla(
        *turned(q, k, v, channel_decay), output_final_state=True
    )
    return *turned(y), state


MEMORIES = {
    "DeltaNet": ("q k v beta", our_delta_rule, their_delta_rule),
    "Gated DeltaNet": ("q k v beta log_decay", our_delta_rule, their_gated_delta_rule),
    "KDA": ("q k v beta channel_decay", our_delta_rule_by_channel, their_delta_rule_by_channel),
    "Gated DeltaNet-2": (
        "q k v erasing writing channel_decay",
        our_erasing_and_writing,
        their_erasing_and_writing,
    ),
    "Comba": ("q k v removal_key beta log_forget", our_reading_first, their_reading_first),
    "Gated DeltaProduct": (
        "q k v removal_key beta log_decay",
        our_delta_product,
        their_delta_product,
    ),
    "RWKV-7": (
        "q k v removal_key rate channel_decay",
        our_generalized_delta_rule,
        their_generalized_delta_rule,
    ),
    "linear attention": ("q k v", our_memory, their_memory),
    "Mamba-2": ("q k v log_decay", our_memory_of_one_decay, their_memory_of_one_decay),
    "GLA": ("q k v channel_decay", our_memory, their_memory_of_many_decays),
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MEMORIES)
def test_outputs_states_and_gradients(name, length):
    names, ours, theirs = MEMORIES[name]
    given = arguments(length)
    inputs = {argument: given[argument] for argument in names.split()}
    (y, state), gradients = outcome(lambda: ours(*inputs.values()), inputs)
    (y_theirs, state_theirs), gradients_theirs = outcome(lambda: theirs(*inputs.values()), inputs)
    assert_agree(
        {"y": y, "state": state, **gradients},
        {"y": y_theirs, "state": state_theirs, **gradients_theirs},
        TOLERANCE,
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_weights_of_based_to_the_last_digits(length):
    inputs = {name: x for name, x in arguments(length).items() if name in "qkv"}
    q, k, v = inputs.values()
    (y,), gradients = outcome(
        lambda: outer_product_memory(taylor_features(q), taylor_features(k), v), inputs
    )
    (expected,), theirs = outcome(
        lambda: naive("based").naive_parallel_based(q, k, v, use_norm=False), inputs
    )
    assert_agree({"y": y, **gradients}, {"y": expected, **theirs}, 1e-12)


def retention(module, q, k, v):
    """Their decays are 1 - 2^(-5 - head), as RetNet's paper has them."""
    q, k = (rotary(x, base=module.rotary_base) for x in (q, k))
    return F.rms_norm(naive("retention").naive_retention(q, k, v), v.shape[-1:], eps=1e-6)


def linear_attention(module, q, k, v):
    q, k, v = turned(F.elu(q) + 1, F.elu(k) + 1, v)
    y, _ = naive("linear_attn").naive_recurrent_linear_attn(q, k, v, scale=1.0, normalize=True)
    return y.transpose(1, 2)


def taylor_attention(module, q, k, v):
    """Without their norm, which adds 1e-6 to the sum of the weights."""
    memory = naive("based").naive_parallel_based
    sums = memory(q, k, torch.ones_like(v[..., :1]), use_norm=False)
    return memory(q, k, v, use_norm=False) / sums


MIXERS = {
    "RetNet": (lambda: RetNet(24, n_heads=3), retention),
    "linear attention": (lambda: LinearAttention(24, n_heads=3), linear_attention),
    "Based": (lambda: TaylorLinearAttention(24, n_heads=3, feature_dim=5), taylor_attention),
}


@pytest.mark.parametrize("length", LENGTHS[1:])  # of one position, norms undo queries and keys
@pytest.mark.parametrize("name", MIXERS)
def test_mixers_around_their_memories(name, length):
    build, memory = MIXERS[name]
    module = perturbed(build())
    x = torch.randn(BATCH, length, 24, dtype=torch.float64, requires_grad=True)

    def around_theirs():
        projections = (module.q_proj, module.k_proj, module.v_proj)
        q, k, v = (project(x).unflatten(-1, (3, -1)).transpose(1, 2) for project in projections)
        y = memory(module, q, k, v).transpose(1, 2).flatten(2)
        return module.out_proj(F.silu(module.g_proj(x)) * y if name == "RetNet" else y)

    inputs = {"x": x, **dict(module.named_parameters())}
    (y,), gradients = outcome(lambda: module(x), inputs)
    (expected,), theirs = outcome(around_theirs, inputs)
    assert_agree({"y": y, **gradients}, {"y": expected, **theirs}, TOLERANCE)
