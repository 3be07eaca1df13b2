"""The optimisers of `TrainConfig.optimizer`.

- "adamw": PyTorch's.
- "sgd": PyTorch's, with momentum 0.9. Weight decay is added to the gradient, so momentum acts on
  it.
- "lion": with the paper's betas. Good learning rates are 3 to 10 times lower than AdamW's, and good
  weight decays as many times higher.
- "muon": PyTorch's for the weights of linear maps in the blocks; AdamW for embeddings, head,
  vectors, convolution filters, and parameters whose learning rate is fixed. Muon's steps are scaled
  as in arXiv 2502.16982, so both use the same learning rate and weight decay.
- "schedule-free": AdamW of the package `schedulefree`. Its training weights differ from its
  evaluation weights (`evaluated_weights`).
- a user's function: see `own_optimizer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from recollect.errors import UserError, to_install
from recollect.mixers.marks import own_decay, own_learning_rate
from recollect.models.init import PARAMETERS
from recollect.own_functions import is_own
from recollect.training.adamw import AdamW
from recollect.training.config import TrainConfig
from recollect.training.lion import Lion
from recollect.training.own_optimizer import own_optimizer

SGD_MOMENTUM, MUON_MOMENTUM = 0.9, 0.95

Groups = list[dict[str, Any]]


def make_optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimiser of a model's trained parameters.

    Each parameter group has an extra entry `own_rate`: its fixed peak learning rate, or None.

    Raises:
        UserError: for a mixer's mark that cannot be followed, for a parameter that the optimiser
            cannot train, and for a user's optimiser that does not follow the config.
    """
    if is_own(train.optimizer):
        optimizer = own_optimizer(model, train)
    else:
        _refuse_misfits(model, train.optimizer)
        optimizer = _OURS[train.optimizer](model, train)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer


def parameter_groups(parameters: nn.Module | Iterable[nn.Parameter], train: TrainConfig) -> Groups:
    """Parameter groups for a PyTorch optimiser, with the fixed decays and rates of mixers.

    Parameters whose weight decay (unless `decay_all`) or learning rate a mixer's authors fixed get
    groups with these values.

    Args:
        parameters: a model, or some of its parameters; untrained ones are left out.
        train: gives rate and decay of all other parameters.

    Raises:
        UserError: for a mark that cannot be followed.
    """
    given = parameters.parameters() if isinstance(parameters, nn.Module) else parameters
    groups: dict[tuple[float, float | None], list[nn.Parameter]] = {}
    for p in given:
        if p.requires_grad:
            kind = _decay(p, train), own_learning_rate(p)
            groups.setdefault(kind, []).append(p)
    return [
        {
            "params": members,
            "weight_decay": decay,
            "own_rate": rate,
            "lr": train.learning_rate if rate is None else rate,
        }
        for (decay, rate), members in groups.items()
    ]


class Joined(torch.optim.Optimizer):
    """Several optimisers as one, each with its own parameters.

    Attributes:
        members: the optimisers.
    """

    def __init__(self, *members: torch.optim.Optimizer) -> None:
        super().__init__([group for each in members for group in each.param_groups], {})
        self.members = members
        for each in members:
            each.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step every optimiser."""
        if closure is not None:
            raise ValueError("joined optimisers take no closure")
        for each in self.members:
            each.step()


@contextmanager
def evaluated_weights(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Give a model its evaluation weights inside the block; restore the training weights to the bit
    afterwards."""
    if not hasattr(optimizer, "eval"):
        yield
        return
    trained = [p.detach().clone() for p in model.parameters()]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            for p, weights in zip(model.parameters(), trained, strict=True):
                p.copy_(weights)


def end_training(optimizer: torch.optim.Optimizer) -> None:
    """Give the model its evaluation weights for good."""
    if hasattr(optimizer, "eval"):
        optimizer.eval()


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weights of linear maps in a model's blocks, except those with a fixed learning rate."""
    outside = {id(p) for name, p in model.named_parameters() if not name.startswith("blocks.")}
    found = [
        module._parameters.get(name)
        for module in model.modules()
        for cls, names in PARAMETERS.items()
        if cls is not nn.Embedding and isinstance(module, cls)
        for name in sorted(names)
    ]
    return [
        p
        for p in dict.fromkeys(found)
        if p is not None
        and p.ndim == 2
        and p.requires_grad
        and not p.is_complex()
        and id(p) not in outside
        and own_learning_rate(p) is None
    ]


def _adamw(parameters: Iterable[nn.Parameter], train: TrainConfig) -> AdamW:
    groups = parameter_groups(parameters, train)
    is_complex = any(p.is_complex() for group in groups for p in group["params"])
    return AdamW(
        groups,
        betas=train.betas,
        fused=not is_complex,  # the fused version refuses complex parameters
    )


def _muon(model: nn.Module, train: TrainConfig) -> Joined:
    if not hasattr(torch.optim, "Muon"):
        raise UserError(f"optimizer='muon' needs PyTorch 2.9; this is {torch.__version__}")
    matrices = hidden_matrices(model)
    if not matrices:
        raise UserError(
            "optimizer='muon' trains the weights of linear maps (nn.Linear) in the blocks, and"
            " this model has none: use 'adamw'"
        )
    chosen = set(map(id, matrices))
    muon = torch.optim.Muon(
        parameter_groups(matrices, train),
        momentum=MUON_MOMENTUM,
        adjust_lr_fn="match_rms_adamw",
    )
    return Joined(muon, _adamw([p for p in model.parameters() if id(p) not in chosen], train))


def _schedule_free(model: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    try:
        from schedulefree import AdamWScheduleFree
    except ImportError:
        raise UserError(
            f"optimizer='schedule-free' needs the package schedulefree: {to_install('optimizers')}"
        ) from None
    return AdamWScheduleFree(parameter_groups(model, train), betas=train.betas)


_OURS: dict[str, Callable[[nn.Module, TrainConfig], torch.optim.Optimizer]] = {
    "adamw": lambda model, train: _adamw(model.parameters(), train),
    "sgd": lambda model, train: torch.optim.SGD(
        parameter_groups(model, train), momentum=SGD_MOMENTUM
    ),
    "lion": lambda model, train: Lion(parameter_groups(model, train)),
    "muon": _muon,
    "schedule-free": _schedule_free,
}


def _refuse_misfits(model: nn.Module, optimizer: str) -> None:
    """Refuse parameters that an optimiser would train wrongly.

    Fixed learning rates are meant for Adam. Squares and signs of complex gradients have another
    meaning than those of real ones.
    """
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if optimizer in ("sgd", "lion") and own_learning_rate(p):
            raise UserError(
                f"the mixer fixes the learning rate of {name} at {own_learning_rate(p)}, which is"
                f" meant for AdamW and does not suit optimizer={optimizer!r}: use 'adamw', 'muon'"
                " or 'schedule-free', or remove the mark"
            )
        if optimizer in ("lion", "schedule-free") and p.is_complex():
            raise UserError(
                f"{name} is complex, and optimizer={optimizer!r} cannot train it: use 'adamw',"
                " 'muon' or 'sgd'"
            )


def _decay(parameter: nn.Parameter, train: TrainConfig) -> float:
    own = None if train.decay_all else own_decay(parameter)
    return train.weight_decay if own is None else own
