"""Marks on parameters: they survive copies, and those of other packages are read."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

import recollect as rc
from recollect.mixers.marks import (
    MarkedParameter,
    is_decayed,
    keep_init,
    keeps_init,
    no_decay,
    own_decay,
    own_learning_rate,
    protect_marks,
)
from recollect.tensors import cast


def _saved_and_loaded(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "deepcopy twice": lambda module: copy.deepcopy(copy.deepcopy(module)),
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "deepcopy of a pickle": lambda module: copy.deepcopy(pickle.loads(pickle.dumps(module))),
    "save": _saved_and_loaded,
    "to": lambda module: module.to(torch.float64),
    "half and back": lambda module: module.half().float(),
    "cast": lambda module: cast(module, torch.float64),
}


class Nested(nn.Module):
    """Marked as a module, as a parameter, before its assignment, and through a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2, bias=False))
        self.tied = nn.Linear(2, 3, bias=False)
        self.tied.weight = self.inner[0].weight
        bare = nn.Parameter(torch.ones(2), requires_grad=False)
        keep_init(bare)
        self.bare = bare
        self.decay = nn.Parameter(torch.ones(2))
        self.plain = nn.Parameter(torch.ones(2))
        keep_init(self.inner[0])
        no_decay(self.decay)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_marks_survive(copied: Callable[[nn.Module], nn.Module]) -> None:
    module = copied(Nested())
    kept = {name for name, p in module.named_parameters() if keeps_init(p)}
    spared = {name for name, p in module.named_parameters() if not is_decayed(p)}
    assert kept == {"inner.0.weight", "inner.0.bias", "bare"}
    assert spared == {"decay"}
    assert module.tied.weight is module.inner[0].weight
    assert [p.requires_grad for p in (module.bare, module.decay)] == [False, True]


def test_a_copy_is_a_copy() -> None:
    weight = nn.Parameter(torch.ones(3))
    keep_init(weight)
    again = copy.deepcopy(weight)
    no_decay(again)
    with torch.no_grad():
        again.zero_()
    assert is_decayed(weight)
    assert weight.sum() == 3
    assert keeps_init(again)


def test_a_marked_parameter_is_a_parameter_like_any_other() -> None:
    torch.manual_seed(0)
    marked, plain = nn.Linear(4, 3), nn.Linear(4, 3)
    plain.load_state_dict(marked.state_dict())
    keep_init(marked)
    x = torch.randn(5, 4)
    for module in (marked, plain):
        optimizer = torch.optim.AdamW(module.parameters(), fused=True)
        module(x).square().sum().backward()
        optimizer.step()
    assert torch.equal(marked.weight, plain.weight)
    assert type(marked(x)) is torch.Tensor
    assert {type(value) for value in marked.state_dict().values()} == {torch.Tensor}
    assert isinstance(marked.weight, nn.Parameter)


def test_a_lazy_parameter_keeps_its_mark() -> None:
    module = nn.LazyLinear(3)
    keep_init(module)
    module(torch.zeros(1, 2))
    assert keeps_init(copy.deepcopy(module).weight)


def test_marks_of_other_packages() -> None:
    module = nn.Linear(2, 2)
    module.bias._no_reinit = True
    module.weight._no_weight_decay = True
    assert (keeps_init(module.weight), keeps_init(module.bias)) == (False, True)
    assert (is_decayed(module.weight), is_decayed(module.bias)) == (False, True)
    protect_marks(module)
    again = copy.deepcopy(module)
    assert keeps_init(again.bias)
    assert not is_decayed(again.weight)


def test_only_marked_parameters_change_their_class() -> None:
    module = nn.Linear(2, 2)
    module.bias._no_reinit = True
    protect_marks(module)
    assert (type(module.weight), type(module.bias)) == (nn.Parameter, MarkedParameter)


@pytest.mark.parametrize(
    ("mark", "decay", "rate"),
    [
        ({"lr": 0.001, "weight_decay": 0.0}, 0.0, 0.001),
        ({"weight_decay": 0.05}, 0.05, None),
        ({"lr": None}, None, None),
        ({"lr": 0.0}, None, 0.0),
        ({}, None, None),
    ],
)
def test_what_s4_marks(
    mark: dict[str, float | None], decay: float | None, rate: float | None
) -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter._optim = mark
    assert (own_decay(parameter), own_learning_rate(parameter)) == (decay, rate)
    assert is_decayed(parameter) is (decay != 0.0)


@pytest.mark.parametrize(
    "mark", [{"betas": (0.9, 0.95)}, {"lr": -1.0}, {"lr": float("nan")}, {"lr": "small"}, 0.001]
)
def test_a_mark_that_cannot_be_followed_is_refused(mark: object) -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter._optim = mark
    with pytest.raises(rc.UserError, match=r"_optim=.*'lr' and 'weight_decay'"):
        own_learning_rate(parameter)
