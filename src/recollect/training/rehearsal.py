"""What a model's forward pass changes in the model itself.

A stack of models takes for granted that it changes nothing; a checkpoint, and weights that are
kept, that all it changes for good are parameters and buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.identity import is_ours
from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.tasks.task import Task
from recollect.tensors import hidden_weights
from recollect.training.checkpoint import build_model, copied_weights, restore_weights
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.module_state import (
    CODE,
    ModuleState,
    extra_states,
    first_change,
    module_state,
)
from recollect.training.precision import mixed_precision

EXAMPLES = 2
"""As many as show it: what a batch consists of makes no difference."""
ROUNDING = 1e-4
"""Outputs that differ by no more than this part of the largest are the same."""


class CannotBeStacked(RuntimeError):
    """What a model does is lost where it is trained in a stack."""


def rehearse(config: TrialConfig, device: torch.device) -> None:
    """Run a fresh model of a trial once at each length of its task, in training and in evaluation.

    Raises:
        CannotBeStacked: where a parameter, a buffer or another attribute is then not what it was.
        UserError: as in `refuse_hidden_weights`.
    """
    refuse_hidden_weights(config, device)
    with fresh_model(config, device) as model:
        before = module_state(model)
        for _ in _forward_passes(model, config, config.task.components):
            change = first_change(before, module_state(model))
            if change is not None:
                raise CannotBeStacked(f"its forward pass changes {change}")


def refuse_hidden_weights(config: TrialConfig, device: torch.device) -> None:
    """Refuse a model with weights that its parameters lack: they would never be trained or saved.

    Raises:
        UserError: where the loss of a fresh model depends on such weights.
    """
    if _is_ours(config):
        return
    batch = config.task.components[0].sample(EXAMPLES, seed=0)
    with fresh_model(config, device) as model:
        hidden = hidden_weights(model.train(), lambda: _loss(model, batch, config.train))
    if hidden:
        count = f"{len(hidden)} tensor{'s'[: len(hidden) > 1]}"
        raise UserError(
            f"{config.model.label}: its loss depends on {count} of weights that are not among"
            " the model's parameters, so that they would never be trained: layers in a plain list?"
            " use nn.ModuleList, or nn.Parameter for a tensor"
        )


def lost_by_checkpoints(config: TrialConfig, model: LanguageModel) -> str | None:
    """Why parameters and buffers alone do not restore a trial's model; None: they do.

    They do not where the model has a parameter or buffer that a fresh one lacks, or extra state
    that a fresh one does not have; where the first passes do not set another attribute once and for
    all, as they do a table, whichever length comes first; and where a fresh model with the same
    weights gives other outputs.

    Args:
        config: the trial.
        model: as it is in the trial.
    """
    if _is_ours(config):
        return None
    change = _lost_change(config, model)
    if change is not None:
        return f"its forward pass changes {change}, which a file of weights cannot hold"
    if not _same_outputs(config, model):
        return "a fresh model with its weights gives other outputs"
    return None


def _lost_change(config: TrialConfig, model: LanguageModel) -> str | None:
    """The name of what a model has and its weights do not hold."""
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
    """Whether a fresh model with a model's weights gives what the model gives, up to rounding."""
    weights, device = copied_weights(model), model.head.weight.device
    with fresh_model(config, device) as fresh:
        if not restore_weights(fresh, weights):
            return False
        for task in config.task.components:
            ours, theirs = (_outputs(m, task.sample(EXAMPLES, seed=0)) for m in (model, fresh))
            restore_weights(model, weights)  # a pass in evaluation may change buffers
            allowed = ROUNDING * ours.abs().max().item()
            if not torch.allclose(ours, theirs, rtol=0.0, atol=allowed, equal_nan=True):
                return False
    return True


def _outputs(model: LanguageModel, batch: Batch) -> torch.Tensor:
    """In evaluation; the model is in training or in evaluation afterwards as it was before."""
    training, there = model.training, batch.to(model.head.weight.device)
    torch.manual_seed(0)
    with torch.no_grad():
        outputs: torch.Tensor = model.eval()(there.inputs, there.positions)
    model.train(training)
    return outputs


@contextmanager
def fresh_model(config: TrialConfig, device: torch.device) -> Iterator[LanguageModel]:
    """A trial's model before training; random numbers are afterwards as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield build_model(config).to(device)


def _forward_passes(
    model: LanguageModel, config: TrialConfig, tasks: Sequence[Task]
) -> Iterator[None]:
    """Halts after each pass: in training, then in evaluation, on each of the tasks."""
    for training in (True, False):
        model.train(training)
        for task in tasks:
            _forward(model, task.sample(EXAMPLES, seed=0), config.train)
            yield


def _forward(model: LanguageModel, batch: Batch, train: TrainConfig) -> None:
    """As in training or in evaluation, whichever the model is in."""
    if model.training:
        _loss(model, batch, train)
    else:
        there = batch.to(model.head.weight.device)
        with torch.no_grad():
            model(there.inputs, there.positions)


def _loss(model: LanguageModel, batch: Batch, train: TrainConfig) -> Tensor:
    """As in training."""
    there = batch.to(model.head.weight.device)
    with mixed_precision(train, there.inputs.device):
        return model.loss(there.inputs, there.positions, there.targets)


def _is_ours(config: TrialConfig) -> bool:
    return all(is_ours(spec.cls) for spec in config.model.mixer)


def _shapes(model: nn.Module) -> ModuleState:
    """Those of parameters and buffers, and the extra state."""
    shapes = {name: tensor.shape for name, tensor in _registered(model)}
    return shapes | extra_states(model)


def _unregistered(model: nn.Module) -> ModuleState:
    """All that is neither parameter nor buffer, nor code, of which two models have their own."""
    state = module_state(model, without=[tensor for _, tensor in _registered(model)])
    return {name: value for name, value in state.items() if not isinstance(value, CODE)}


def _registered(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
