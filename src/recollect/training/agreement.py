"""Whether models in a stack are trained as each is trained alone.

What a stack cannot follow is named where it can be found: hooks on gradients, and tensors in the
memory of a parameter. For all else the gradients of both ways are compared.
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
from recollect.training.module_state import first_change, module_state, view_of_parameter
from recollect.training.optimizer import make_optimizer
from recollect.training.rehearsal import EXAMPLES, CannotBeStacked, fresh_model
from recollect.training.stack import Stack

STEPS, RATE = 3, 1e-2
"""Updates before the comparison, and their learning rate: a map that begins at zero hides the
gradients of what comes before it."""
MASKS = key_words(0)
"""The key of the masks of dropout."""
OF_ITS_OWN, OF_ALL = 1e-2, 1e-3
"""Gradients of a parameter agree if they differ by at most this part of their own norm and this
part of the norm of all gradients. Rounding stays below it, that of TF32 on a GPU included."""
PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
MODULE_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = ("_global_backward_hooks", "_global_backward_pre_hooks")
"""Attributes of PyTorch's that hold hooks on gradients, which a stack does not call."""


def refuse_what_a_stack_drops(model: nn.Module) -> None:
    """Look for what a stack of models like this one would leave out.

    Raises:
        CannotBeStacked: for a hook on gradients, or a tensor in the memory of a parameter.
    """
    hooked = _hooked(model)
    if hooked is not None:
        raise CannotBeStacked(f"{hooked} has a hook on its gradients")
    view = view_of_parameter(model)
    if view is not None:
        raise CannotBeStacked(f"{view[0]} shares the memory of the parameter {view[1]}")


@no_exit
def compare_gradients(config: TrialConfig, device: torch.device) -> None:
    """Compare the gradients of two models of a trial, with other weights each, in a stack and
    alone, on the same few examples and after a few updates.

    They are computed without mixed precision, whose rounding would hide differences.

    Args:
        config: the trial.
        device: where its models are trained.

    Raises:
        CannotBeStacked: where they differ, or where computing them changes a model.
        RuntimeError: where the models cannot be stacked, see `Stack`.
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
    """The gradients of one model, as its training computes them; what is not finite counts as 0."""
    model.train()
    before = module_state(model)
    with dropout_masks(MASKS):
        model.loss(batch.inputs, batch.positions, batch.targets).backward()
    change = first_change(before, module_state(model))
    if change is not None:
        raise CannotBeStacked(f"its backward pass changes {change}")
    gradients = {}
    for name, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        gradients[name] = gradient.nan_to_num(posinf=0.0, neginf=0.0)
    model.zero_grad(set_to_none=True)
    return gradients


def _hooked(model: nn.Module) -> str | None:
    """The first module or parameter with a hook on its gradients."""
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
    changed: TrialConfig = config.replace(seeds=config.seeds.replace(init=seed))
    return changed


def _repeated(batch: Batch, count: int) -> Batch:
    """The same examples for each of several models."""
    repeated = {name: x.expand(count, *x.shape) for name, x in batch.tensors().items()}
    return Batch.of(repeated)
