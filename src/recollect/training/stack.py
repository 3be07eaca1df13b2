"""Models of one shape as one program: parameters with a leading model dimension, and their AdamW.

Letters: P models, N parameters of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

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

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of every parameter, by PyTorch's names."""

OfParameter = Callable[[torch.optim.AdamW, nn.Parameter], Tensor]
"""What an optimiser has of a parameter, in the parameter's shape."""


class Stack:
    """P models and their optimisers.

    Parameters and moments are rows of matrices, so that an update takes a few operations for all
    models. What models and optimisers hold themselves is out of date until `write_back`.

    Args:
        models: of one shape, on one device, their parameters of one type and all of them trained.
        optimizers: the AdamW of each; only rates and weight decays differ.
        steps: how many all of them have made.

    Raises:
        TypeError: where a parameter is complex.
        ValueError: where a parameter is not trained, or has a learning rate of its own.
    """

    def __init__(
        self, models: Sequence[LanguageModel], optimizers: Sequence[torch.optim.AdamW], steps: int
    ) -> None:
        for name, parameter in models[0].named_parameters():
            _check_stackable(name, parameter)
        self._models, self._optimizers, self._steps = list(models), list(optimizers), steps
        self._shapes = {name: p.shape for name, p in models[0].named_parameters()}
        self._theta = self._rows(lambda _, p: p.detach())
        self._first, self._second = (self._rows(_moment(name)) for name in MOMENTS)
        self._decay = self._rows(lambda o, p: torch.full_like(p, _weight_decay(o, p)))
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
        self._update(gradient, rates[:, None])
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
        with mixed_precision(train, self._theta.device):
            losses = self._each(self._loss, parameters, batch)
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
        return losses.detach(), dict(zip(parameters, gradients, strict=True))

    @torch.no_grad()
    def scores(self, batch: Batch, further: Sequence[Metric] = ()) -> Float64[Tensor, "P S"]:
        """What `evaluate.score` says of every model on its own examples."""
        self._models[0].eval()
        method = _Method(self._models[0], partial(_score, further=further))
        scores = self._each(method, self._parameters(), batch)
        self._models[0].train()
        return scores

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these models alone, in this order."""
        rows = torch.tensor(places, device=self._theta.device)
        for name in ("_theta", "_first", "_second", "_decay"):
            setattr(self, name, getattr(self, name)[rows])
        self._buffers = {name: buffer[rows] for name, buffer in self._buffers.items()}
        self._models = [self._models[i] for i in places]
        self._optimizers = [self._optimizers[i] for i in places]
        self._loss = _Method(self._models[0], _loss)

    @torch.no_grad()
    def write_back(self, place: int) -> None:
        """Bring a model and its optimiser up to date."""
        model, optimizer = self._models[place], self._optimizers[place]
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        rows = [m[place].split(sizes) for m in (self._theta, self._first, self._second)]
        for p, value, *moments in zip(model.parameters(), *rows, strict=True):
            p.copy_(value.view_as(p))
            state = {
                name: moment.view_as(p).clone()
                for name, moment in zip(MOMENTS, moments, strict=True)
            }
            steps = torch.tensor(float(self._steps), device=p.device)
            optimizer.state[p] = {"step": steps, **state}
        for name, buffer in model.named_buffers():
            fill(buffer, self._buffers[name][place])

    def _update(self, gradient: Float[Tensor, "P N"], rates: Float[Tensor, "P 1"]) -> None:
        """AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101), as PyTorch computes it."""
        group = self._optimizers[0].param_groups[0]
        beta1, beta2 = group["betas"]
        self._steps += 1
        self._theta.mul_(1 - rates * self._decay)
        self._first.lerp_(gradient, 1 - beta1)
        self._second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = (self._second / (1 - beta2**self._steps)).sqrt_().add_(group["eps"])
        self._theta.addcdiv_(self._first * rates, scale, value=-1 / (1 - beta1**self._steps))

    def _parameters(self) -> dict[str, Float[Tensor, "P ..."]]:
        """Views of the matrix, one for each parameter of a model."""
        parts = self._theta.split([math.prod(shape) for shape in self._shapes.values()], dim=1)
        return {
            name: part.detach().view(len(self), *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

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

    def _rows(self, of: OfParameter) -> Float[Tensor, "P N"]:
        """A row of each model: something of all its parameters, one after the other."""
        return torch.stack(
            [
                torch.cat([of(optimizer, p).flatten() for p in model.parameters()])
                for model, optimizer in zip(self._models, self._optimizers, strict=True)
            ]
        )


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


def _moment(name: str) -> OfParameter:
    """What an optimiser has of a parameter; zeros before its first step."""
    return lambda optimizer, p: optimizer.state[p].get(name, torch.zeros_like(p))


def _weight_decay(optimizer: torch.optim.AdamW, parameter: nn.Parameter) -> float:
    return next(
        group["weight_decay"]
        for group in optimizer.param_groups
        if any(p is parameter for p in group["params"])
    )
