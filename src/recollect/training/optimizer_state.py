"""State of an optimiser as tensors and numbers, which a checkpoint can hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recollect.own_functions import is_own
from recollect.training.config import TrainConfig
from recollect.training.module_state import first_change
from recollect.training.own_optimizer import fresh_rest, is_number, rest

Tensors = dict[tuple[str, str], Tensor]
"""Tensors by the name of a parameter and of an entry in its state."""


def optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Tensors, dict[str, Any]]:
    """State of an optimiser: the tensors of each parameter; and, as plain data, the numbers of each
    parameter and group."""
    tensors: Tensors = {}
    numbers: dict[str, dict[str, float]] = {}
    for name, parameter in model.named_parameters():
        for entry, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[name, entry] = value
            elif is_number(value):
                numbers.setdefault(name, {})[entry] = value
    groups = [
        {key: value for key, value in group.items() if is_number(value)}
        for group in optimizer.param_groups
    ]
    return tensors, {"parameters": numbers, "groups": groups}


def restore_optimizer(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Tensors,
    numbers: dict[str, Any],
) -> None:
    """Load the result of `optimizer_state` into a new optimiser of the same model."""
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        kept = {entry: value for (of, entry), value in tensors.items() if of == name}
        for entry, value in kept.items():
            on_cpu = entry == "step" and not _counts_on_device(groups[id(parameter)])
            optimizer.state[parameter][entry] = value if on_cpu else value.to(parameter.device)
        if name in numbers.get("parameters", {}):
            optimizer.state[parameter].update(numbers["parameters"][name])
    for group, kept in zip(optimizer.param_groups, numbers.get("groups", []), strict=False):
        group.update(kept)


def lost_by_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, train: TrainConfig
) -> str | None:
    """Reason why tensors and numbers cannot restore a user's optimiser; None if they can.

    They cannot if the state of a parameter holds anything else, or if anything else has changed
    since the optimiser was made.
    """
    if not is_own(train.optimizer):
        return None
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for of, entries in optimizer.state.items():
        if id(of) not in names:
            return "its optimiser keeps state for something that is not a parameter of the model"
        for entry, value in entries.items():
            if not isinstance(value, Tensor) and not is_number(value):
                kind = type(value).__name__
                return f"its optimiser keeps {entry} of {names[id(of)]}, a {kind}"
    change = first_change(fresh_rest(optimizer), rest(optimizer))
    return None if change is None else f"its optimiser changes {change}"


def _counts_on_device(group: dict[str, Any]) -> bool:
    """PyTorch's optimisers count steps on the CPU unless they are fused or captured."""
    return bool(group.get("fused") or group.get("capturable"))
