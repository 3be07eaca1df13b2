"""Checks of what a model's forward pass changes in the model itself.

Training in a stack requires that it changes nothing. Checkpoints and stored weights require that it
permanently changes nothing but parameters and buffers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.identity import is_ours
from recollect.models.language_model import LanguageModel
from recollect.models.look_ahead import look_ahead, reveal
from recollect.models.mixed_rows import mixed_rows
from recollect.seeding import seed_generators
from recollect.tasks.batch import Batch
from recollect.tasks.task import Task
from recollect.tensors import hidden_weights, shared_weights
from recollect.training.checkpoint import build_model, copied_weights, restore_weights
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.module_state import (
    CODE,
    ModuleState,
    extra_states,
    first_change,
    object_state,
)
from recollect.training.precision import mixed_precision

EXAMPLES = 2
"""Examples in a check; more would show nothing more."""
ROUNDING = 1e-4
"""Relative tolerance within which two outputs count as equal."""


class CannotBeStacked(RuntimeError):
    """The model cannot be trained in a stack without changing its results."""


def rehearse(config: TrialConfig, device: torch.device) -> None:
    """Run a new model of a trial on each component of its task, in training and evaluation mode.

    Raises:
        CannotBeStacked: if that changes a parameter, a buffer or another attribute.
        UserError: as in `refuse_misplaced_weights`.
    """
    refuse_misplaced_weights(config, device)
    warn_of_leaks(config, device)
    with fresh_model(config, device) as model:
        before = object_state(model)
        for _ in _forward_passes(model, config, config.task.components):
            change = first_change(before, object_state(model))
            if change is not None:
                raise CannotBeStacked(f"its forward pass changes {change}")


def refuse_misplaced_weights(config: TrialConfig, device: torch.device) -> None:
    """Refuse a model with weights that are not its own.

    Weights that are not parameters would never be trained or saved. Weights that two models share
    would carry what one trial learns into the next.

    Raises:
        UserError: if a new model has such weights.
    """
    if _is_ours(config):
        return
    batch = config.task.components[0].sample(EXAMPLES, seed=0)
    with fresh_model(config, device) as model:
        shared = shared_weights(model, build_model(config))
        hidden = hidden_weights(model.train(), lambda: _loss(model, batch, config.train))
    if shared:
        raise UserError(
            f"{config.model.label}: two new models share {', '.join(shared)}, so one trial would"
            " continue from the weights of another: create weights in the constructor, not in a"
            " default argument, a class attribute or a global variable"
        )
    if hidden:
        count = f"{len(hidden)} tensor{'s'[: len(hidden) > 1]}"
        raise UserError(
            f"{config.model.label}: the loss depends on {count} that the model's parameters do not"
            " include, so they would never be trained. If its layers are in a plain list, use"
            " nn.ModuleList; for a tensor, use nn.Parameter"
        )


def warn_of_leaks(config: TrialConfig, device: torch.device) -> None:
    """Warn of a user's mixer that mixes the examples of a batch or reads later tokens.

    This package's mixers do neither. A mixer that mixes examples gets this warning alone: it may
    take examples for positions, so what it reads later is unknown.
    """
    if _is_ours(config):
        return
    longest = max(config.task.components, key=lambda task: task.max_len)
    tokens = longest.sample(EXAMPLES, seed=0).inputs.to(device)
    with fresh_model(config, device) as model:
        reveal(model)
        mixed = mixed_rows(model, tokens, config.task.vocab_size)
        ahead = 0.0 if mixed else look_ahead(model, tokens, config.task.vocab_size)
    if mixed:
        warnings.warn(
            f"{config.model.label}: an example changes the outputs of other examples of its batch,"
            " so its results mean nothing. It may read (length, batch, d_model): set"
            " batch_first=True, or layout='LBD' in `rc.adapt`; `recollect check` shows where",
            stacklevel=2,
        )
    if ahead:
        warnings.warn(
            f"{config.model.label}: later tokens change earlier outputs, by {ahead:.2g} of the"
            f" largest output on {config.task.label}. If it is meant to be causal, its results mean"
            " nothing: `recollect check` shows where it looks ahead",
            stacklevel=2,
        )


def lost_by_checkpoints(config: TrialConfig, model: LanguageModel) -> str | None:
    """Reason why parameters and buffers cannot restore a trial's model; None if they can.

    They cannot if the model has a parameter, buffer or extra state that a new one lacks; if another
    attribute keeps changing after the first passes, or depends on the order of lengths (a table
    that is computed once does not); or if a new model with the same weights gives other outputs.

    Args:
        config: the trial.
        model: its model.
    """
    if _is_ours(config):
        return None
    change = _lost_change(config, model)
    if change is not None:
        return f"its forward pass changes {change}, which a file of weights cannot hold"
    if not _same_outputs(config, model):
        return "a new model with its weights gives other outputs"
    return None


def _lost_change(config: TrialConfig, model: LanguageModel) -> str | None:
    """Name of something in a model that its weights do not hold."""
    device, tasks = model.head.weight.device, config.task.components
    with fresh_model(config, device) as fresh:
        change = first_change(_shapes(fresh), _shapes(model))
        if change is not None:
            return change
        list(_forward_passes(fresh, config, tasks[::-1]))
        settled = _unregistered(fresh)
    with fresh_model(config, device) as fresh:
        list(_forward_passes(fresh, config, tasks))
        change = first_change(settled, _unregistered(fresh))
        for _ in _forward_passes(fresh, config, tasks):
            change = change or first_change(settled, _unregistered(fresh))
    return change


def _same_outputs(config: TrialConfig, model: LanguageModel) -> bool:
    """Whether a new model with a model's weights gives the same outputs, up to rounding."""
    weights, device = copied_weights(model), model.head.weight.device
    with fresh_model(config, device) as fresh:
        if not restore_weights(fresh, weights):
            return False
        for task in config.task.components:
            ours, theirs = (_outputs(m, task.sample(EXAMPLES, seed=0)) for m in (model, fresh))
            restore_weights(model, weights)  # an evaluation pass may change buffers
            allowed = ROUNDING * ours.abs().max().item()
            if not torch.allclose(ours, theirs, rtol=0.0, atol=allowed, equal_nan=True):
                return False
    return True


def _outputs(model: LanguageModel, batch: Batch) -> torch.Tensor:
    """Outputs in evaluation mode; the model's mode is restored."""
    training, there = model.training, batch.to(model.head.weight.device)
    seed_generators(0, model.head.weight.device)
    with torch.no_grad():
        outputs: torch.Tensor = model.eval()(there.inputs, there.positions)
    model.train(training)
    return outputs


@contextmanager
def fresh_model(config: TrialConfig, device: torch.device) -> Iterator[LanguageModel]:
    """Context with a trial's new, untrained model; restores the random state afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield build_model(config).to(device)


def _forward_passes(
    model: LanguageModel, config: TrialConfig, tasks: Sequence[Task]
) -> Iterator[None]:
    """Yield after each forward pass: in training mode on each task, then in evaluation mode."""
    for training in (True, False):
        model.train(training)
        for task in tasks:
            _forward(model, task.sample(EXAMPLES, seed=0), config.train)
            yield


def _forward(model: LanguageModel, batch: Batch, train: TrainConfig) -> None:
    """One pass in the mode that the model is in."""
    if model.training:
        _loss(model, batch, train)
    else:
        there = batch.to(model.head.weight.device)
        with torch.no_grad():
            model(there.inputs, there.positions)


def _loss(model: LanguageModel, batch: Batch, train: TrainConfig) -> Tensor:
    """Loss as in training."""
    there = batch.to(model.head.weight.device)
    with mixed_precision(train, there.inputs.device):
        return model.loss(there.inputs, there.positions, there.targets)


def _is_ours(config: TrialConfig) -> bool:
    return all(is_ours(spec.cls) for spec in config.model.mixer)


def _shapes(model: nn.Module) -> ModuleState:
    """Shapes of parameters and buffers, and the extra state."""
    shapes = {name: tensor.shape for name, tensor in _registered(model)}
    return shapes | extra_states(model)


def _unregistered(model: nn.Module) -> ModuleState:
    """Snapshot of all except parameters, buffers and code, which differs between two models."""
    state = object_state(model, without=[tensor for _, tensor in _registered(model)])
    return {name: value for name, value in state.items() if not isinstance(value, CODE)}


def _registered(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
