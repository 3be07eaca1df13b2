"""One cast and one count for all modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recollect.tensors import cast, count_numbers, fill, hidden_weights, trained_numbers


class Mixed(nn.Module):
    """Parameters and buffers of every kind of number."""

    def __init__(self) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.ones(3))
        self.poles = nn.Parameter(torch.full((2,), 1 + 2j))
        self.frozen = nn.Parameter(torch.ones(5), requires_grad=False)
        self.places = nn.Parameter(torch.arange(4), requires_grad=False)
        self.register_buffer("rotation", torch.full((2,), 0.6 + 0.8j, dtype=torch.complex128))
        self.register_buffer("mask", torch.tensor([True, False]))


@pytest.mark.parametrize(
    ("dtype", "complex_dtype"),
    [(torch.float64, torch.complex128), (torch.float32, torch.complex64)],
)
def test_a_cast_changes_precision_and_nothing_else(
    dtype: torch.dtype, complex_dtype: torch.dtype
) -> None:
    module = Mixed()
    assert cast(module, dtype) is module
    assert module.real.dtype == module.frozen.dtype == dtype
    assert module.poles.dtype == module.rotation.dtype == complex_dtype
    assert (module.places.dtype, module.mask.dtype) == (torch.int64, torch.bool)
    assert torch.equal(module.poles.imag, torch.full((2,), 2.0, dtype=dtype))
    torch.testing.assert_close(module.rotation, torch.full((2,), 0.6 + 0.8j, dtype=complex_dtype))


def test_a_tied_parameter_stays_tied() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    cast(model, torch.float64)
    assert model[1].weight is model[0].weight


def test_a_complex_number_counts_as_two_and_frozen_ones_are_not_counted() -> None:
    assert count_numbers(torch.zeros(2, 3)) == 6
    assert count_numbers(torch.zeros(2, 3, dtype=torch.complex64)) == 12
    assert trained_numbers(Mixed()) == 3 + 2 * 2


def test_a_shared_parameter_is_counted_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert trained_numbers(model) == 4


def test_hidden_weights_are_those_that_two_calls_share() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Linear(2, 2)
            self.layers = [nn.Linear(2, 2)]

        def forward(self) -> torch.Tensor:
            started = torch.zeros(2, requires_grad=True)
            return self.own(self.layers[0](started))

    model = Model()
    assert len(hidden_weights(model, model)) == 2
    model.layers[0].requires_grad_(False)
    assert hidden_weights(model, model) == []
    assert hidden_weights(model, lambda: torch.zeros(2)) == []


def test_an_expanded_tensor_is_filled():
    for tensor in (torch.zeros(1).expand(3), torch.zeros(2, 1).expand(2, 3), torch.zeros(2, 2).T):
        value = torch.arange(tensor.shape[0]).reshape(-1, *[1] * (tensor.dim() - 1)).float()
        value = value.expand_as(tensor) if tensor.dim() == 2 else torch.full_like(tensor, 4.0)
        fill(tensor, value)
        assert torch.equal(tensor, value)
