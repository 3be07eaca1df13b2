"""Parameters of models of one shape as rows of matrices, with their optimisers' states.

Dimensions: P models, N parameters of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.models.language_model import LanguageModel
from recollect.training.stacked_update import Rows, corrections, update_of

OfParameter = Callable[[torch.optim.Optimizer, nn.Parameter], Tensor]
"""Returns an entry of the optimiser's state of a parameter, in the parameter's shape."""


class Part:
    """Parameters of all models that one kind of optimiser updates.

    Attributes:
        rows: parameters and optimiser states.
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        optimizers: Sequence[torch.optim.Optimizer],
        device: torch.device,
    ) -> None:
        self._optimizers = list(optimizers)
        self._update = update_of(optimizers[0])
        updated = {id(p) for group in optimizers[0].param_groups for p in group["params"]}
        named = [(n, p) for n, p in models[0].named_parameters() if id(p) in updated]
        self._names, shapes = [n for n, _ in named], [p.shape for _, p in named]
        self._sizes = [math.prod(shape) for shape in shapes]
        parameters = [dict(model.named_parameters()) for model in models]

        def rows(of: OfParameter) -> Float[Tensor, "P N"]:
            return torch.stack(
                [
                    torch.cat([of(optimizer, own[name]).flatten() for name in self._names]).to(
                        device
                    )
                    for own, optimizer in zip(parameters, optimizers, strict=True)
                ]
            )

        theta = rows(lambda _, p: p.detach())
        group: dict[str, Any] = optimizers[0].param_groups[0]
        self.rows = Rows(
            theta=theta,
            kept={name: rows(_kept(name, self._update.begins)) for name in self._update.kept},
            decay=rows(lambda o, p: torch.full_like(p, _weight_decay(o, p))),
            sums={
                name: theta.new_tensor([[o.param_groups[0][name]] for o in optimizers])
                for name in self._update.sums
            },
            shapes=shapes,
            group=group,
        )

    def corrections(self, step: int) -> tuple[float, float]:
        """As `stacked_update.corrections`."""
        return corrections(self.rows.group, step)

    def step(
        self,
        gradient: Float[Tensor, "P N"],
        rates: Float[Tensor, "P 1"],
        corrections: Float[Tensor, " 2"],
    ) -> None:
        """Update all models."""
        self._update.step(self.rows, gradient, rates, corrections)

    def changed(self) -> list[Tensor]:
        """The tensors that an update changes."""
        return [self.rows.theta, *self.rows.kept.values(), *self.rows.sums.values()]

    def parameters(self, evaluated: bool) -> dict[str, Float[Tensor, "P ..."]]:
        """Parameters by name, with training or evaluation weights."""
        theta = self._update.evaluated(self.rows) if evaluated else self.rows.theta
        parts = zip(self._names, self.rows.shapes, theta.split(self._sizes, dim=1), strict=True)
        return {name: part.detach().view(-1, *shape) for name, shape, part in parts}

    def keep(self, chosen: list[int]) -> None:
        """Continue with these models only, in this order."""
        rows = self.rows
        rows.theta, rows.decay = rows.theta[chosen], rows.decay[chosen]
        rows.kept = {name: each[chosen] for name, each in rows.kept.items()}
        rows.sums = {name: each[chosen] for name, each in rows.sums.items()}
        self._optimizers = [self._optimizers[i] for i in chosen]

    def write_back(self, place: int, model: LanguageModel, steps: int) -> None:
        """Copy the rows of one model into its parameters and their optimiser."""
        optimizer, rows, own = self._optimizers[place], self.rows, dict(model.named_parameters())
        state = {name: each[place].split(self._sizes) for name, each in rows.kept.items()}
        for i, (name, value) in enumerate(
            zip(self._names, rows.theta[place].split(self._sizes), strict=True)
        ):
            p = own[name]
            p.copy_(value.view_as(p))
            kept = {
                entry: values[i].view_as(p).to(p.device, copy=True)
                for entry, values in state.items()
            }
            if self._update.clock:
                kept[self._update.clock] = torch.tensor(float(steps), device=p.device)
            optimizer.state[p] = kept
        for group in optimizer.param_groups:
            group.update({name: each[place].item() for name, each in rows.sums.items()})
            if self._update.group_clock:
                group[self._update.group_clock] = steps


def _kept(name: str, begins: Sequence[str]) -> OfParameter:
    """Returns an entry of the optimiser's state; before the first step, its initial value."""

    def kept(optimizer: torch.optim.Optimizer, p: nn.Parameter) -> Tensor:
        found = optimizer.state.get(p, {}).get(name)
        if found is None:
            return p.detach() if name in begins else torch.zeros_like(p)
        return found

    return kept


def _weight_decay(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> float:
    return next(
        group["weight_decay"]
        for group in optimizer.param_groups
        if any(p is parameter for p in group["params"])
    )
