"""Users' optimisers, made by a function `(model, config) -> torch.optim.Optimizer`.

`model` is the `LanguageModel`, `config` the `TrainConfig`.

- `training.optimizer.parameter_groups(model, config)` makes groups that follow the marks of mixers.
- The schedule scales each group's initial learning rate. At least one group must begin with
  `config.learning_rate`, because otherwise a search over rates would change nothing. At least one
  must have `config.weight_decay`, and `config.betas` unless these are the default.
- `step()` is called without a closure.
- An optimiser with methods `train` and `eval`, such as those of the package `schedulefree`, is
  switched between them.
- A checkpoint holds the tensors and numbers in the state of each parameter, and the numbers in the
  groups. If the optimiser keeps anything else, trials are not checkpointed, and a warning says so.
- The function may read the model. Such trials are trained one model at a time.
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
    """Call a user's function and check the optimiser that it returns.

    Raises:
        UserError: if it returns no optimiser, or one that does not follow the config.
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
            " an optimiser whose step() uses the gradients already computed"
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
    """Snapshot of what a checkpoint lacks: all that an optimiser holds except parameters, their
    state, and numbers in its groups."""
    others = [
        {key: value for key, value in group.items() if key != "params" and not is_number(value)}
        for group in optimizer.param_groups
    ]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = [*parameters, optimizer.state, *optimizer.param_groups]
    return object_state(vars(optimizer) | {"param_groups": others}, without=kept)


def fresh_rest(optimizer: torch.optim.Optimizer) -> ModuleState:
    """Result of `rest` when a user's optimiser was made."""
    return _FRESH[optimizer]


def is_number(value: object) -> bool:
    """Whether a checkpoint can hold a value as a number."""
    return isinstance(value, int | float)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    parameters = inspect.signature(optimizer.step).parameters.values()
    varying = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in varying for p in parameters)


def _refuse_unled(optimizer: torch.optim.Optimizer, label: str, train: TrainConfig) -> None:
    """Refuse an optimiser that ignores the learning rate: all rates would give the same result."""
    rates = [group.get("lr") for group in optimizer.param_groups]
    if train.learning_rate not in rates:
        raise UserError(
            f"the optimizer {label} has groups with lr={rates}, none of them the trial's"
            f" {train.learning_rate}: give lr=config.learning_rate, which a study searches"
        )


def _refuse_unmarked(
    model: nn.Module, optimizer: torch.optim.Optimizer, label: str, train: TrainConfig
) -> None:
    """Refuse an optimiser that leaves out a parameter or ignores a mixer's fixed rate or decay."""
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
    """Refuse an optimiser that ignores the config's weight decay or betas, which tables show."""
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
