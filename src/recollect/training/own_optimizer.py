"""Optimisers of a user's own, made by a function `(model, config) -> torch.optim.Optimizer`, whose
model is the `LanguageModel` and whose config is the `TrainConfig`.

- `parameter_groups(model, config)` of `training.optimizer` makes groups that follow what mixers
  mark.
- The schedule multiplies the rate with which each group begins; one at least begins with
  `config.learning_rate`, or a search over rates would change nothing. One at least has
  `config.weight_decay`, and where the config has other betas than the default, these.
- `step()` is called without a closure.
- An optimiser with the methods `train` and `eval` is switched between them, as those of the package
  `schedulefree` need it.
- A checkpoint has the tensors and numbers that it keeps of each parameter, and the numbers of its
  groups. One that keeps anything else is not saved in work, and a warning says so.
- It may read the model, and is trained one model at a time.
"""

from __future__ import annotations

import inspect
from weakref import WeakKeyDictionary

import torch
from torch import nn

from recollect.errors import UserError, no_exit, summary
from recollect.identity import import_function
from recollect.mixers.marks import own_decay, own_learning_rate
from recollect.training.config import DEFAULT_BETAS, TrainConfig
from recollect.training.module_state import ModuleState, object_state
from recollect.training.optimizer_name import optimizer_label

_FRESH: WeakKeyDictionary[torch.optim.Optimizer, ModuleState] = WeakKeyDictionary()


@no_exit
def own_optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """What a user's function makes for a model.

    Raises:
        UserError: where it makes none, or a trial would not be trained with it as its config says.
    """
    label, before = optimizer_label(train.optimizer), [p.clone() for p in model.parameters()]
    try:
        optimizer = import_function(train.optimizer)(model, train)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the optimizer {label} cannot be made: {type(error).__name__}: {summary(error)};"
            " expected a function (model, config) -> torch.optim.Optimizer"
        ) from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(
            f"the optimizer {label} returned a {type(optimizer).__name__}: expected a"
            " torch.optim.Optimizer"
        )
    if not all(map(torch.equal, model.parameters(), before)):
        raise UserError(f"the optimizer {label} changes weights before training; leave them alone")
    if _needs_closure(optimizer):
        raise UserError(
            f"{type(optimizer).__name__}.step, of the optimizer {label}, needs a closure: expected"
            " an optimiser whose step() takes the gradients that are there"
        )
    _refuse_unled(optimizer, label, train)
    _refuse_unmarked(model, optimizer, label, train)
    _refuse_untaken(model, optimizer, label, train)
    for group in optimizer.param_groups:
        own = None if group["lr"] == train.learning_rate else float(group["lr"])
        group.setdefault("own_rate", own)
    _FRESH[optimizer] = rest(optimizer)
    return optimizer


def rest(optimizer: torch.optim.Optimizer) -> ModuleState:
    """What an optimiser holds beside its parameters, what it keeps of them, and numbers in its
    groups: what a checkpoint lacks."""
    others = [
        {key: value for key, value in group.items() if key != "params" and not is_number(value)}
        for group in optimizer.param_groups
    ]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = [*parameters, optimizer.state, *optimizer.param_groups]
    return object_state(vars(optimizer) | {"param_groups": others}, without=kept)


def fresh_rest(optimizer: torch.optim.Optimizer) -> ModuleState:
    """What `rest` gave when a user's optimiser was made."""
    return _FRESH[optimizer]


def is_number(value: object) -> bool:
    """Whether a checkpoint can hold it beside tensors."""
    return isinstance(value, int | float)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    parameters = inspect.signature(optimizer.step).parameters.values()
    varying = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in varying for p in parameters)


def _refuse_unled(optimizer: torch.optim.Optimizer, label: str, train: TrainConfig) -> None:
    """All rates of a search would give the same numbers."""
    rates = [group.get("lr") for group in optimizer.param_groups]
    if train.learning_rate not in rates:
        raise UserError(
            f"the optimizer {label} has groups with lr={rates}, none of them the trial's"
            f" {train.learning_rate}: give lr=config.learning_rate, which a study searches"
        )


def _refuse_unmarked(
    model: nn.Module, optimizer: torch.optim.Optimizer, label: str, train: TrainConfig
) -> None:
    """Every trained parameter is in one group, as its mixer's authors marked it."""
    remedy = "recollect.training.optimizer.parameter_groups(model, config) makes such groups"
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if id(p) not in groups:
            raise UserError(f"the optimizer {label} leaves out {name}, which is to be trained")
        group, rate = groups[id(p)], own_learning_rate(p)
        decay = None if train.decay_all else own_decay(p)
        if decay is not None and group.get("weight_decay", 0.0) != decay:
            raise UserError(
                f"the optimizer {label} decays {name} by {group.get('weight_decay', 0.0)}; its"
                f" authors fixed {decay}: {remedy}"
            )
        if rate is not None and group["lr"] != rate:
            raise UserError(
                f"the optimizer {label} trains {name} with lr={group['lr']}; its authors fixed"
                f" {rate}: {remedy}"
            )


def _refuse_untaken(
    model: nn.Module, optimizer: torch.optim.Optimizer, label: str, train: TrainConfig
) -> None:
    """Tables would show a weight decay and betas that had no effect."""
    marked = {id(p) for p in model.parameters() if own_decay(p) is not None and not train.decay_all}
    groups = [
        group
        for group in optimizer.param_groups
        if not all(id(p) in marked for p in group["params"])
    ]
    decays = [group.get("weight_decay", 0.0) for group in groups]
    if groups and train.weight_decay not in decays:
        raise UserError(
            f"the optimizer {label} has groups with weight_decay={decays}, none of them the"
            f" trial's {train.weight_decay}: give weight_decay=config.weight_decay, or set"
            " weight_decay in the config to what it has"
        )
    betas = [group.get("betas") for group in optimizer.param_groups]
    if train.betas != DEFAULT_BETAS and train.betas not in betas:
        raise UserError(
            f"the optimizer {label} has groups with betas={betas}, none of them the trial's"
            f" {train.betas}: give betas=config.betas, or leave them out of the config"
        )
