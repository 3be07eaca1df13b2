"""Check that a stack trains each model as it would be trained alone.

A stack calls no hooks on gradients and does not update tensors that share a parameter's memory;
both are looked for. For everything else, the gradients of the two ways are compared.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
import torch.nn.modules.module as torch_module
from torch import Tensor, nn

from recollect.errors import no_exit
from recollect.models.language_model import LanguageModel
from recollect.ops.dropout import dropout_masks, key_words
from recollect.tasks.batch import Batch
from recollect.training.config import TrialConfig
from recollect.training.module_state import first_change, object_state, view_of_parameter
from recollect.training.optimizer import make_optimizer
from recollect.training.rehearsal import EXAMPLES, CannotBeStacked, fresh_model
from recollect.training.stack import Stack

STEPS, RATE = 3, 1e-2
"""Number and learning rate of the updates before the comparison. They are needed because a layer
that is initialised to zero hides the gradients of the layers before it."""
MASKS = key_words(0)
"""Key of the dropout masks."""
OF_ITS_OWN, OF_ALL = 1e-2, 1e-3
"""Relative tolerances. Two gradients of a parameter agree if the norm of their difference is at
most OF_ITS_OWN times their norm plus OF_ALL times the norm of all gradients. Rounding stays below
it, also with TF32 on a GPU."""
PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
MODULE_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = ("_global_backward_hooks", "_global_backward_pre_hooks")
"""PyTorch's attributes that hold gradient hooks, which a stack does not call."""


def refuse_what_a_stack_drops(model: nn.Module) -> None:
    """Refuse a model with gradient hooks or views of parameters, which a stack ignores.

    Raises:
        CannotBeStacked: for a hook on gradients, or a tensor that shares a parameter's memory.
    """
    hooked = _hooked(model)
    if hooked is not None:
        raise CannotBeStacked(f"{hooked} has a hook on its gradients")
    view = view_of_parameter(model)
    if view is not None:
        raise CannotBeStacked(f"{view[0]} shares the memory of the parameter {view[1]}")


@no_exit
def compare_gradients(config: TrialConfig, device: torch.device) -> None:
    """Compare gradients computed in a stack with those computed model by model.

    Two models of the trial, with different weights, are compared on the same few examples, after a
    few updates. Mixed precision is off, because its rounding would hide differences.

    Args:
        config: the trial.
        device: where its models are trained.

    Raises:
        CannotBeStacked: if they differ, or if a backward pass changes a model.
        RuntimeError: if the models cannot be stacked, see `Stack`.
    """
    dtype = "float64" if config.train.dtype == "float64" else "float32"
    train = config.train.replace(dtype=dtype)
    batches = [task.sample(EXAMPLES, seed=0).to(device) for task in config.task.components]
    with ExitStack() as built:
        models = [
            built.enter_context(fresh_model(_with_init(config, seed), device))
            for seed in (config.seeds.init, config.seeds.init ^ 1)
        ]
        stack = Stack(models, [make_optimizer(model, train) for model in models], 0, device)
        numbers = stack.numbers([[RATE] * len(models)] * STEPS, [[MASKS] * len(models)] * STEPS)
        for step in range(STEPS):
            stack.step(_repeated(batches[0], len(models)), numbers[step], train)
            stack.steps += 1
        for place in range(len(models)):
            stack.write_back(place)
        for batch in batches:
            together = stack.gradients(_repeated(batch, len(models)), train, numbers[0].masks)[1]
            for place, model in enumerate(models):
                _compare({name: g[place] for name, g in together.items()}, _alone(model, batch))


def _compare(together: dict[str, Tensor], alone: dict[str, Tensor]) -> None:
    whole = torch.stack([g.norm() for g in alone.values()]).norm()
    for name, gradient in alone.items():
        difference = (together[name] - gradient).norm()
        if difference > OF_ITS_OWN * gradient.norm() + OF_ALL * whole:
            raise CannotBeStacked(
                f"the gradient of {name} differs from that of a model trained alone"
            )


def _alone(model: LanguageModel, batch: Batch) -> dict[str, Tensor]:
    """Gradients of one model, as its training computes them; NaN and inf become 0."""
    model.train()
    before = object_state(model)
    with dropout_masks(MASKS):
        model.loss(batch.inputs, batch.positions, batch.targets).backward()
    change = first_change(before, object_state(model))
    if change is not None:
        raise CannotBeStacked(f"its backward pass changes {change}")
    gradients = {}
    for name, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        gradients[name] = gradient.nan_to_num(posinf=0.0, neginf=0.0)
    model.zero_grad(set_to_none=True)
    return gradients


def _hooked(model: nn.Module) -> str | None:
    """The first module or parameter that has a gradient hook."""
    if any(getattr(torch_module, name) for name in GLOBAL_HOOKS):
        return "every module"
    for name, parameter in model.named_parameters():
        if any(getattr(parameter, hooks, None) for hooks in PARAMETER_HOOKS):
            return f"the parameter {name}"
    for name, module in model.named_modules():
        if any(getattr(module, hooks, None) for hooks in MODULE_HOOKS):
            return f"the module {name}"
    return None


def _with_init(config: TrialConfig, seed: int) -> TrialConfig:
    return config.replace(seeds=config.seeds.replace(init=seed))


def _repeated(batch: Batch, count: int) -> Batch:
    """The same examples for each of several models."""
    repeated = {name: x.expand(count, *x.shape) for name, x in batch.tensors().items()}
    return Batch.of(repeated)
