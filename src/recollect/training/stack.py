"""A stack of models of one shape: parameters with a leading model dimension, and optimisers.

Dimensions: P models, N parameters of one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from jaxtyping import Float, Float64, Int32
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from recollect.errors import no_exit
from recollect.mixers.marks import own_learning_rate
from recollect.models.language_model import LanguageModel
from recollect.ops.dropout import dropout_masks
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.tensors import fill
from recollect.training.config import TrainConfig
from recollect.training.evaluate import score
from recollect.training.precision import mixed_precision
from recollect.training.stacked_part import Part
from recollect.training.stacked_update import members
from recollect.training.step_numbers import Numbers

KERNELS_UNDER_VMAP = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
"""PyTorch's attention kernels for mixers that call them under `vmap`. The backward pass of its
memory-efficient kernel fails there (see `ops.attention_kernel`)."""


class Stack:
    """P models and their optimisers on a device.

    Parameters and optimiser states are rows of matrices, so that an update takes a few operations
    for all models. The models and optimisers themselves are out of date until `write_back`. They
    stay on their devices, except the first model, whose code runs for all of them.

    Args:
        models: of one shape; all parameters are trained and of one dtype.
        optimizers: one of ours per model, all of one kind; only rates and weight decays differ.
        steps: steps that every model has done.
        device: where they are trained.

    Attributes:
        steps: steps that every model has done. The caller of `step` counts them, because a replayed
            step (`captured.Captured`) runs no Python code.

    Raises:
        TypeError: if a parameter is complex.
        ValueError: if a parameter is not trained or has a fixed learning rate.
    """

    def __init__(
        self,
        models: Sequence[LanguageModel],
        optimizers: Sequence[torch.optim.Optimizer],
        steps: int,
        device: torch.device,
    ) -> None:
        for name, parameter in models[0].named_parameters():
            _check_stackable(name, parameter)
        self.steps = steps
        self._models, self._device = list(models), device
        self._parts = [
            Part(models, kind, device)
            for kind in zip(*(members(optimizer) for optimizer in optimizers), strict=True)
        ]
        self._buffers = {
            name: torch.stack([dict(model.named_buffers())[name].to(device) for model in models])
            for name, _ in models[0].named_buffers()
        }
        self._loss = _Method(models[0].to(device), _loss)

    def __len__(self) -> int:
        return len(self._models)

    def numbers(
        self,
        rates: Sequence[Sequence[float]],
        masks: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> Numbers:
        """Numbers that the next steps read besides examples.

        Args:
            rates: the learning rate of each model at each step.
            masks: the dropout key of each model at each step; None: no dropout.
        """
        theta = self._parts[0].rows.theta
        coming = range(self.steps + 1, self.steps + 1 + len(rates))
        corrected = [[part.corrections(step) for part in self._parts] for step in coming]
        return Numbers(
            theta.new_tensor(rates),
            theta.new_tensor(corrected),
            None if masks is None else torch.tensor(masks, dtype=torch.int32, device=theta.device),
        )

    def step(self, batch: Batch, numbers: Numbers, train: TrainConfig) -> Float[Tensor, " P"]:
        """Update every model on its own examples; the caller then adds 1 to `steps`.

        Args:
            batch: inputs, positions and targets with a leading P.
            numbers: of this step.
            train: gives `grad_clip` and `dtype`.

        Returns:
            The losses before the update.

        Raises:
            RuntimeError: if a model draws random numbers or does what `torch.func.vmap` cannot
                follow (nothing is updated), or if memory runs out during the update (which is then
                incomplete).
            torch.OutOfMemoryError: if memory runs out before the update; nothing is updated.
        """
        losses, gradients = self.gradients(batch, train, numbers.masks)
        try:
            self._update(gradients, numbers, train)
        except torch.OutOfMemoryError as error:
            raise RuntimeError("memory ran out within an update") from error
        return losses

    def _update(
        self, gradients: dict[str, Float[Tensor, "P ..."]], numbers: Numbers, train: TrainConfig
    ) -> None:
        gradient = torch.cat([g.flatten(1) for g in gradients.values()], dim=1)
        if train.grad_clip is not None:  # as PyTorch's clip_grad_norm_, with its 1e-6
            norms = gradient.norm(dim=1, keepdim=True)
            gradient *= (train.grad_clip / (norms + 1e-6)).clamp(max=1)
        sizes = [part.rows.theta.shape[1] for part in self._parts]
        kinds = zip(
            self._parts, gradient.split(sizes, dim=1), numbers.corrections.unbind(), strict=True
        )
        for part, own, corrections in kinds:
            part.step(own, numbers.rates[:, None], corrections)

    @no_exit
    def gradients(
        self, batch: Batch, train: TrainConfig, masks: Int32[Tensor, "P 2"] | None = None
    ) -> tuple[Float[Tensor, " P"], dict[str, Float[Tensor, "P ..."]]]:
        """Loss of every model on its own examples, and its gradients by parameter name.

        Args:
            batch: as in `step`.
            train: gives `dtype`.
            masks: as in `Numbers`.

        Raises:
            RuntimeError: as in `step`.
        """
        self._models[0].train()
        parameters = {name: p.requires_grad_() for name, p in self._parameters().items()}
        with mixed_precision(train, self._device):
            losses = self._each(self._loss, parameters, batch, masks)
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
        return losses.detach(), dict(zip(parameters, gradients, strict=True))

    @torch.no_grad()
    def scores(
        self, batch: Batch, further: Sequence[Metric] = (), first: int = 0
    ) -> Float64[Tensor, "P S"]:
        """Result of `evaluate.score` for every model on its own examples."""
        self._models[0].eval()
        method = _Method(self._models[0], partial(_score, further=further, first=first))
        scores = self._each(method, self._parameters(evaluated=True), batch, None)
        self._models[0].train()
        return scores

    def changed(self) -> list[Tensor]:
        """All tensors that a step changes."""
        return [x for part in self._parts for x in part.changed()]

    def keep(self, places: Sequence[int]) -> None:
        """Continue with these models only, in this order."""
        chosen = list(places)
        for part in self._parts:
            part.keep(chosen)
        self._buffers = {name: buffer[chosen] for name, buffer in self._buffers.items()}
        self._models = [self._models[i] for i in places]
        self._loss = _Method(self._models[0].to(self._device), _loss)

    @torch.no_grad()
    def write_back(self, place: int) -> None:
        """Copy the training weights and optimiser state of one model into it and its optimiser."""
        for part in self._parts:
            part.write_back(place, self._models[place], self.steps)
        for name, buffer in self._models[place].named_buffers():
            fill(buffer, self._buffers[name][place])

    def _parameters(self, *, evaluated: bool = False) -> dict[str, Float[Tensor, "P ..."]]:
        """Views of the rows, one for each parameter of a model."""
        return {k: v for part in self._parts for k, v in part.parameters(evaluated).items()}

    def _each(
        self,
        method: _Method,
        parameters: dict[str, Tensor],
        batch: Batch,
        masks: Int32[Tensor, "P 2"] | None,
    ) -> Float[Tensor, "P ..."]:
        """Result of a method for each model on its own examples."""

        def one(
            parameters: dict[str, Tensor],
            buffers: dict[str, Tensor],
            key: Tensor | None,
            *examples: Tensor,
        ) -> Tensor:
            arguments = (Batch.of(dict(zip(given, examples, strict=True))),)
            state = {f"model.{name}": x for name, x in (parameters | buffers).items()}
            with dropout_masks(key):
                return functional_call(method, state, arguments)

        given = batch.tensors()
        places = (0, 0, None if masks is None else 0, *(0 for _ in given))
        with sdpa_kernel(KERNELS_UNDER_VMAP) if self._device.type == "cuda" else nullcontext():
            return vmap(one, places)(parameters, self._buffers, masks, *given.values())


class _Method(nn.Module):
    """A function of a model and a batch as a module, because `functional_call` takes modules."""

    def __init__(
        self, model: LanguageModel, function: Callable[[LanguageModel, Batch], Tensor]
    ) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, batch: Batch) -> Tensor:
        """Call the function."""
        return self.function(self.model, batch)


def _check_stackable(name: str, parameter: nn.Parameter) -> None:
    if not parameter.requires_grad:
        raise ValueError(f"{name} is not trained")
    if parameter.is_complex():
        raise TypeError(f"{name} is complex")
    if own_learning_rate(parameter) is not None:
        raise ValueError(f"{name} has a fixed learning rate")


def _loss(model: LanguageModel, batch: Batch) -> Tensor:
    return model.loss(batch.inputs, batch.positions, batch.targets)


def _score(model: LanguageModel, batch: Batch, further: Sequence[Metric], first: int) -> Tensor:
    return score(model(batch.inputs, batch.positions), batch, further, first)
