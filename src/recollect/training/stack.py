"""Models of one shape as one program: parameters with a leading model dimension, and their
optimisers.

Letters: P models, N parameters of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from recollect.errors import no_exit
from recollect.mixers.marks import own_learning_rate
from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.tensors import fill
from recollect.training.config import TrainConfig
from recollect.training.evaluate import score
from recollect.training.precision import mixed_precision
from recollect.training.stacked_update import Rows, members, update_of

OfParameter = Callable[[torch.optim.Optimizer, nn.Parameter], Tensor]
"""What an optimiser has of a parameter, in the parameter's shape."""


class Stack:
    """P models and their optimisers.

    Parameters and what optimisers keep of them are rows of matrices, so that an update takes a few
    operations for all models. What models and optimisers hold themselves is out of date until
    `write_back`.

    Args:
        models: of one shape, on one device, their parameters of one type and all of them trained.
        optimizers: one of ours for each, all of a kind; only rates and weight decays differ.
        steps: how many all of them have made.

    Raises:
        TypeError: where a parameter is complex.
        ValueError: where a parameter is not trained, or has a learning rate of its own.
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        optimizers: Sequence[torch.optim.Optimizer],
        steps: int,
    ) -> None:
        for name, parameter in models[0].named_parameters():
            _check_stackable(name, parameter)
        self._models = list(models)
        self._parts = [
            _Part(models, kind, steps)
            for kind in zip(*(members(optimizer) for optimizer in optimizers), strict=True)
        ]
        self._buffers = stack_module_state(self._models)[1]
        self._loss = _Method(models[0], _loss)

    def __len__(self) -> int:
        return len(self._models)

    def step(
        self, batch: Batch, rates: Float[Tensor, " P"], train: TrainConfig
    ) -> Float[Tensor, " P"]:
        """Update every model on its own examples.

        Args:
            batch: inputs, positions and targets with a leading P.
            rates: the learning rates.
            train: gives `grad_clip` and `dtype`.

        Returns:
            The losses before the update.

        Raises:
            RuntimeError: where a model draws random numbers, or does what `torch.func.vmap` cannot
                follow; nothing is updated then.
        """
        losses, gradients = self.gradients(batch, train)
        gradient = torch.cat([g.flatten(1) for g in gradients.values()], dim=1)
        if train.grad_clip is not None:  # as PyTorch's clip_grad_norm_, with its 1e-6
            norms = gradient.norm(dim=1, keepdim=True)
            gradient *= (train.grad_clip / (norms + 1e-6)).clamp(max=1)
        sizes = [part.rows.theta.shape[1] for part in self._parts]
        for part, own in zip(self._parts, gradient.split(sizes, dim=1), strict=True):
            part.step(own, rates[:, None])
        return losses

    @no_exit
    def gradients(
        self, batch: Batch, train: TrainConfig
    ) -> tuple[Float[Tensor, " P"], dict[str, Float[Tensor, "P ..."]]]:
        """Every model's loss on its own examples, and its gradient by each parameter.

        Args:
            batch: as in `step`.
            train: gives `dtype`.

        Raises:
            RuntimeError: as in `step`.
        """
        self._models[0].train()
        parameters = {name: p.requires_grad_() for name, p in self._parameters().items()}
        with mixed_precision(train, self._device):
            losses = self._each(self._loss, parameters, batch)
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
        return losses.detach(), dict(zip(parameters, gradients, strict=True))

    @torch.no_grad()
    def scores(self, batch: Batch, further: Sequence[Metric] = ()) -> Float64[Tensor, "P S"]:
        """What `evaluate.score` says of every model on its own examples."""
        self._models[0].eval()
        method = _Method(self._models[0], partial(_score, further=further))
        scores = self._each(method, self._parameters(evaluated=True), batch)
        self._models[0].train()
        return scores

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these models alone, in this order."""
        chosen = list(places)
        for part in self._parts:
            part.keep(chosen)
        self._buffers = {name: buffer[chosen] for name, buffer in self._buffers.items()}
        self._models = [self._models[i] for i in places]
        self._loss = _Method(self._models[0], _loss)

    @torch.no_grad()
    def write_back(self, place: int) -> None:
        """Bring a model and its optimiser up to date, both as they are in training."""
        for part in self._parts:
            part.write_back(place, self._models[place])
        for name, buffer in self._models[place].named_buffers():
            fill(buffer, self._buffers[name][place])

    @property
    def _device(self) -> torch.device:
        return self._parts[0].rows.theta.device

    def _parameters(self, *, evaluated: bool = False) -> dict[str, Float[Tensor, "P ..."]]:
        """Views of the rows, one for each parameter of a model."""
        return {k: v for part in self._parts for k, v in part.parameters(evaluated).items()}

    def _each(
        self, method: _Method, parameters: dict[str, Tensor], batch: Batch
    ) -> Float[Tensor, "P ..."]:
        """What a method gives for each model on its own examples."""

        def one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], *examples: Tensor
        ) -> Tensor:
            arguments = (Batch.of(dict(zip(given, examples, strict=True))),)
            state = {f"model.{name}": x for name, x in (parameters | buffers).items()}
            return functional_call(method, state, arguments)

        given = batch.tensors()
        return vmap(one)(parameters, self._buffers, *given.values())


class _Part:
    """The parameters of all models that one kind of optimiser updates.

    Attributes:
        rows: what there is of them.
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        optimizers: Sequence[torch.optim.Optimizer],
        steps: int,
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
                    torch.cat([of(optimizer, own[name]).flatten() for name in self._names])
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
            steps=steps,
        )

    def step(self, gradient: Float[Tensor, "P N"], rates: Float[Tensor, "P 1"]) -> None:
        """Update all models."""
        self.rows.steps += 1
        self._update.step(self.rows, gradient, rates)

    def parameters(self, evaluated: bool) -> dict[str, Float[Tensor, "P ..."]]:
        """Those of training, or those of evaluation."""
        theta = self._update.evaluated(self.rows) if evaluated else self.rows.theta
        parts = zip(self._names, self.rows.shapes, theta.split(self._sizes, dim=1), strict=True)
        return {name: part.detach().view(-1, *shape) for name, shape, part in parts}

    def keep(self, chosen: list[int]) -> None:
        """Go on with these models alone, in this order."""
        rows = self.rows
        rows.theta, rows.decay = rows.theta[chosen], rows.decay[chosen]
        rows.kept = {name: each[chosen] for name, each in rows.kept.items()}
        rows.sums = {name: each[chosen] for name, each in rows.sums.items()}
        self._optimizers = [self._optimizers[i] for i in chosen]

    def write_back(self, place: int, model: LanguageModel) -> None:
        """Bring the parameters of a model, and their optimiser, up to date."""
        optimizer, rows, own = self._optimizers[place], self.rows, dict(model.named_parameters())
        state = {name: each[place].split(self._sizes) for name, each in rows.kept.items()}
        for i, (name, value) in enumerate(
            zip(self._names, rows.theta[place].split(self._sizes), strict=True)
        ):
            p = own[name]
            p.copy_(value.view_as(p))
            kept = {entry: values[i].view_as(p).clone() for entry, values in state.items()}
            if self._update.clock:
                kept[self._update.clock] = torch.tensor(float(rows.steps), device=p.device)
            optimizer.state[p] = kept
        for group in optimizer.param_groups:
            group.update({name: each[place].item() for name, each in rows.sums.items()})
            if self._update.group_clock:
                group[self._update.group_clock] = rows.steps


class _Method(nn.Module):
    """A function of a model and examples as a module, which is what `functional_call` takes."""

    def __init__(
        self, model: LanguageModel, function: Callable[[LanguageModel, Batch], Tensor]
    ) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, batch: Batch) -> Tensor:
        """Call it."""
        return self.function(self.model, batch)


def _check_stackable(name: str, parameter: nn.Parameter) -> None:
    if not parameter.requires_grad:
        raise ValueError(f"{name} is not to be trained")
    if parameter.is_complex():
        raise TypeError(f"{name} is complex")
    if own_learning_rate(parameter) is not None:
        raise ValueError(f"{name} has a learning rate of its own")


def _loss(model: LanguageModel, batch: Batch) -> Tensor:
    return model.loss(batch.inputs, batch.positions, batch.targets)


def _score(model: LanguageModel, batch: Batch, further: Sequence[Metric]) -> Tensor:
    return score(model(batch.inputs, batch.positions), batch, further)


def _kept(name: str, begins: Sequence[str]) -> OfParameter:
    """What an optimiser has of a parameter; before its first step, what that begins with."""

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
