"""Our attentions, slots, regression and log-linear memories against the references of
flash-linear-attention."""

import pytest
import torch
from agreement import assert_agree, outcome
from fla_naive import D_K, HEADS, LENGTHS, SCALE, TOLERANCE, arguments, naive, turned

from recollect.ops.forgetting_attention import forgetting_attention
from recollect.ops.log_linear import log_linear
from recollect.ops.mesa import mesa
from recollect.ops.path_attention import path_attention
from recollect.ops.slots import slot_memory


def our_slots(q, k, v, slot_decay):
    write = -torch.expm1(slot_decay)
    return slot_memory(q, k, v, write, slot_decay)


def their_slots(q, k, v, slot_decay):
    write = -torch.expm1(slot_decay)
    y, _ = naive("gsa").naive_recurrent_gsa(
        *turned(q, k, v, write, slot_decay), scale=1.0, output_final_state=False
    )
    return y.transpose(1, 2)


def our_forgetting_attention(q, k, v, log_forget):
    return forgetting_attention(q, k, v, log_forget)


def their_forgetting_attention(q, k, v, log_forget):
    y = naive("forgetting_attn").naive_forgetting_attn(*turned(q, k, v, log_forget))
    return y.transpose(1, 2)


def our_mesa(q, k, removal_key, beta, log_forget):
    """Theirs needs values as wide as the keys."""
    return mesa(q, k, removal_key, beta, log_forget, torch.linspace(0.5, 2, D_K).to(q))


def their_mesa(q, k, removal_key, beta, log_forget):
    ridge = torch.linspace(0.5, 2, D_K).to(q).expand(HEADS, -1)
    q, k, v, log_forget, beta = turned(q, k, removal_key, log_forget, beta)
    y, *_ = naive("mesa_net").naive_mesa_net_exact(q, k, v, log_forget, ridge, beta)
    return y.transpose(1, 2)


def our_path(q, k, v, removal_key, beta):
    return path_attention(q, k, v, removal_key, 2 * beta)


def their_path(q, k, v, removal_key, beta):
    q, k, v, w, beta = turned(q, k, v, removal_key, 2 * beta)
    y = naive("path_attn").naive_path_attn(q, k, v, w, beta, 0 * beta, SCALE, chunk_size=16)
    return y.transpose(1, 2)


def our_log_linear(q, k, v, log_decay, levels):
    return log_linear(q, k, v, log_decay, levels)


def their_log_linear(q, k, v, log_decay, levels):
    q, k, v, log_decay, levels = turned(q, k, v, log_decay, levels)
    y = naive("log_linear_attn").naive_log_linear_attn(q, k, v, log_decay, levels)
    return y.transpose(1, 2)


MIXINGS = {
    "GSA": ("q k v slot_decay", our_slots, their_slots),
    "FoX": ("q k v log_forget", our_forgetting_attention, their_forgetting_attention),
    "MesaNet": ("q k removal_key beta log_forget", our_mesa, their_mesa),
    "PaTH": ("q k v removal_key beta", our_path, their_path),
    "log-linear": ("q k v log_forget levels", our_log_linear, their_log_linear),
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MIXINGS)
def test_outputs_and_gradients(name, length):
    names, ours, theirs = MIXINGS[name]
    given = arguments(length)
    inputs = {argument: given[argument] for argument in names.split()}
    (y,), gradients = outcome(lambda: ours(*inputs.values()), inputs)
    (expected,), gradients_theirs = outcome(lambda: theirs(*inputs.values()), inputs)
    assert_agree({"y": y, **gradients}, {"y": expected, **gradients_theirs}, TOLERANCE)
