"""Kernels for matrix states, in Triton's interpreter on the CPU."""

from functools import partial

import pytest
import torch
from forms_agree import DEVICE, a_scan, assert_agree
from torch.func import grad, vmap

from recollect.ops import _triton_memory, _triton_slots, forms
from recollect.ops._triton_memory import fused_memory
from recollect.ops.delta_rule import delta_rule, delta_rule_definition
from recollect.ops.generalized_delta_rule import (
    generalized_delta_rule,
    generalized_delta_rule_definition,
)
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_definition
from recollect.ops.slots import slot_memory, slot_memory_definition

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _kernels(monkeypatch):
    """Short chunks, because the interpreter computes them to their ends."""
    monkeypatch.setattr(forms, "form_for", lambda *_: "triton")
    for kernels, name, positions in (
        (_triton_memory, "CHUNK", 4),
        (_triton_memory, "PART", 2),
        (_triton_slots, "CHUNK", 2),
    ):
        monkeypatch.setattr(kernels, name, positions)


def a_memory(q, k, v, log_decay, state, p, r):
    """The recurrence of `_triton_memory.py`."""
    outputs = []
    for t in range(q.shape[-2]):
        given_up = r[..., t, :, None] * (p[..., t, None, :] @ state)
        state = log_decay[..., t, :, None].exp() * state - given_up
        state = state + k[..., t, :, None] * v[..., t, None, :]
        outputs.append((q[..., t, None, :] @ state).squeeze(-2))
    return torch.stack(outputs, -2), state


def memory_arguments(length, d_k, d_v, *, decays, leading=()):
    """Arguments of `a_memory`; all leading dimensions share the queries."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    k, v, p, r = (normal(*leading, length, d) for d in (d_k, d_v, d_k, d_k))
    log_decay = -normal(*leading, length, decays).abs()
    state = normal(*leading, d_k, d_v)
    return normal(length, d_k), k, v, log_decay, state, p / p.norm(dim=-1, keepdim=True), r / d_k


@pytest.mark.parametrize("decays", [1, 3])
@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize(("length", "d_v"), [(1, 2), (7, 2), (3, 300)])
def test_memory(decays, removes, length, d_v):
    """A chunk has four positions in two parts; a program, 256 columns for keys of width 3."""
    inputs = memory_arguments(length, 3, d_v, decays=decays)
    inputs, removal = inputs[:5], inputs[5:]

    def fast(q, k, v, log_decay, state, *removal):
        return fused_memory(q, k, v, log_decay, state, removal or None)

    def definition(*inputs):
        return a_memory(*inputs, *(removal if not removes else ()))

    if removes:
        inputs = (*inputs, *removal)
    else:
        removal = [torch.zeros_like(x, device=DEVICE) for x in removal]
    assert_agree("triton", fast, definition, inputs, 2)


def test_a_population_is_the_models_alone():
    """Models share queries and decays; other arguments are mapped along different dimensions."""
    q, k, v, log_decay, state, p, r = (
        x.float().to(DEVICE) for x in memory_arguments(3, 2, 2, decays=2, leading=(2,))
    )

    def loss(q, k, v, log_decay, state, p, r):
        y, last = fused_memory(q, k, v, log_decay, state, (p, r))
        return y.square().sum() + last.square().sum()

    which = tuple(range(7))
    in_dims = (None, -1, 0, None, 0, 1, 0)
    together = vmap(grad(loss, which), in_dims)(
        q, k.movedim(0, -1), v, log_decay[0], state, p.movedim(0, 1), r
    )
    alone = [grad(loss, which)(q, k[i], v[i], log_decay[0], state[i], p[i], r[i]) for i in (0, 1)]
    for a, e in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(a, torch.stack(e), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decays", [None, 1, 3])
def test_outer_product_memory(decays):
    q, k, v, log_decay, *_ = memory_arguments(5, 3, 2, decays=decays or 1, leading=(2,))
    inputs = (q, k, v) if decays is None else (q, k, v, log_decay)
    definition = outer_product_memory_definition
    assert_agree(
        "triton",
        a_scan(outer_product_memory),
        lambda *inputs: definition(*inputs)[:1],
        inputs,
        1,
    )


@pytest.mark.parametrize("case", ["DeltaNet", "erase key", "Comba", "KDA", "DeltaProduct"])
def test_delta_rule(case):
    decays = 3 if case == "KDA" else 1
    q, k, v, log_decay, _, p, _ = memory_arguments(4, 3, 2, decays=decays, leading=(2,))
    if case == "DeltaProduct":  # two steps a token
        q, log_decay = q[:2], log_decay[:, :2]
    inputs = (q, p, v, torch.rand(2, 4))
    if case != "DeltaNet":
        inputs = (*inputs, log_decay)
    if case in ("erase key", "Comba"):
        inputs = (*inputs, k / 3)
    rules = (partial(f, read_first=case == "Comba") for f in (delta_rule, delta_rule_definition))
    assert_agree("triton", *rules, inputs, 2)


def test_generalized_delta_rule():
    q, k, v, log_decay, _, p, _ = memory_arguments(4, 3, 2, decays=3, leading=(2,))
    inputs = (q, k, v, p, torch.rand(2, 4, 3), log_decay)
    assert_agree("triton", generalized_delta_rule, generalized_delta_rule_definition, inputs, 2)


@pytest.mark.parametrize(("length", "slots"), [(1, 2), (5, 2), (2, 1030)])
def test_slot_memory(length, slots):
    """A program has at most 1,024 slots for keys of width 3."""
    q, k, v, log_decay, *_ = memory_arguments(length, 3, 2, decays=slots)
    inputs = (q, k, v, 1 - log_decay.exp(), log_decay)
    assert_agree("triton", a_scan(slot_memory), a_scan(slot_memory_definition), inputs, 1)


def test_a_memory_too_large_for_a_kernel_takes_plain_pytorch():
    x = torch.ones(2)
    assert forms.form_for_memory(128, 128, x) == "triton"
    assert forms.form_for_memory(128, 129, x) == "torch"
