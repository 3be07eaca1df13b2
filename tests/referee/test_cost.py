"""Multiply-adds: counted in matrix products, declared by ops, and no product twice."""

import importlib
import pkgutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import recollect as rc
import recollect.ops
from recollect.ops.attention import attention
from recollect.ops.cost import Op, declares, rows
from recollect.ops.diagonal import diagonal_scan
from recollect.ops.outer_product import outer_product_memory
from recollect.ops.wkv import wkv
from recollect.referee.check import measure
from recollect.referee.cost import COST_LENGTH
from recollect.referee.report import multiply_adds_text

D = 8


def count(mixer, **sizes):
    return measure(mixer, **({"d_model": D} | sizes))[0].multiply_adds


class Products(nn.Module):
    """Matrix products of four kinds."""

    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, 3 * d_model)
        self.conv = nn.Conv1d(d_model, d_model, 4, groups=d_model)
        self.matrix = nn.Parameter(torch.randn(d_model, d_model))

    def forward(self, x):
        q, k, v = self.linear(x).chunk(3, dim=-1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = torch.einsum("bld,de->ble", y, self.matrix)
        return self.conv(F.pad(y, (0, 0, 3, 0)).mT).mT


def test_matrix_products_of_a_users_module_are_counted():
    linear, attention, einsum, conv = 3 * D * D, 2 * COST_LENGTH * D, D * D, 4 * D
    counted = count(Products)
    assert counted.products == linear + attention + einsum + conv
    assert (counted.declared, counted.total) == (0, counted.products)


def test_attention_by_brute_force():
    pairs = sum(1 for t in range(COST_LENGTH) for s in range(COST_LENGTH) if t - 5 < s <= t)
    counted = count(rc.mixer("attention", n_heads=2, window=5))
    assert counted.products == 4 * D * D
    assert counted.declared == 2 * pairs * D / COST_LENGTH


def test_a_convolution_is_declared_for_all_its_channels():
    counted = count(rc.mixer("attention", qkv_conv=3))
    visible = (COST_LENGTH + 1) / 2
    assert counted.declared == 2 * visible * D + 3 * 3 * D


@declares(lambda x, *, times: times * rows(x) * x[0, 0].numel())
def squares(x, *, times):
    """An op with a matrix product inside and a different declared cost."""
    for _ in range(times):
        x = x @ torch.ones(x.shape[-1], x.shape[-1])
    return x


class OnOps(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return squares(self.linear(squares(x, times=2)), times=1)


def test_what_an_op_declares_replaces_what_is_counted_within_it():
    counted = count(OnOps)
    assert counted.products == D * D
    assert counted.declared == 3 * D / COST_LENGTH


def test_arguments_may_be_given_by_name():
    x, channels, memory = torch.randn(2, 3, D), torch.ones(D), torch.zeros(2, D, D)
    assert squares.multiply_adds(x=x, times=2) == squares.multiply_adds(x, times=2) == 2 * 2 * D
    assert diagonal_scan.multiply_adds(x, b=x, initial_state=channels) == 2 * 3 * D
    assert wkv.multiply_adds(x, x, w=channels, u=channels) == 2 * 6 * 3 * D
    begun = outer_product_memory.multiply_adds(x, x, x, initial_state=memory)
    assert begun == outer_product_memory.multiply_adds(x, x, x, None, memory)
    with pytest.raises(TypeError, match="missing a required argument: 'k'"):
        attention.multiply_adds(x)


def test_an_op_is_the_function_it_stands_for():
    x = torch.randn(2, 3, D)
    assert squares.__name__ == "squares"
    assert "matrix product" in squares.__doc__
    assert torch.equal(squares(x, times=2), squares.function(x, times=2))


def test_rows_are_the_leading_dimensions():
    x = torch.zeros(5, 1, 3, 7)
    assert rows(x) == 5
    assert rows(x, torch.zeros(4, 3, 9)) == 20
    assert rows(x, dims=3) == 5
    assert rows(torch.zeros(3, 7)) == 1
    assert rows(x, None) == 5


def ops_that_know_their_cost():
    for module in pkgutil.iter_modules(recollect.ops.__path__):
        names = vars(importlib.import_module(f"recollect.ops.{module.name}"))
        for name in names:
            if name.endswith("_multiply_adds"):
                yield pytest.param(names, name.removesuffix("_multiply_adds"), id=name)


@pytest.mark.parametrize(("module", "name"), list(ops_that_know_their_cost()))
def test_every_op_that_knows_its_cost_declares_it(module, name):
    assert isinstance(module[name], Op)


class Broadcast(nn.Module):
    """A matrix product that is written elementwise."""

    def __init__(self, d_model):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(d_model, d_model))

    def forward(self, x):
        return (x[..., None] * self.matrix).sum(-2)


def test_no_counted_product_is_not_no_work():
    assert multiply_adds_text(count(Broadcast)) == (
        "no matrix products or declared ops; elementwise products are not counted"
    )


def test_a_declaration_that_computes_with_tensors_is_not_counted_itself():
    assert count("moba").uncounted == ()


class PartlyFrozen(OnOps):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.linear.bias.requires_grad_(False)


def test_parameters_are_those_that_are_trained():
    assert measure(OnOps, d_model=D)[0].parameters == D * D + D
    (measured,) = measure(PartlyFrozen, d_model=D)
    assert (measured.parameters, measured.frozen) == (D * D, D)
