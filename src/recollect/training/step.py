"""One optimiser step: on the whole batch or in parts, in one process or several."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recollect.errors import UserError, no_exit
from recollect.ops.dropout import dropout_masks, key_words
from recollect.seeding import derive_seed, seed_generators
from recollect.tasks.batch import Batch
from recollect.training.config import TrainConfig
from recollect.training.precision import mixed_precision
from recollect.training.ranks import ALONE, Ranks
from recollect.training.run import Run
from recollect.training.trained import Trained


@no_exit
def training_step(trained: Trained, *, ranks: Ranks = ALONE) -> float:
    """Update a model on the next batch of its run.

    Gradients are accumulated over forward passes of `run.rows` examples. If a GPU's memory does not
    suffice, this and later steps use half as many.

    Args:
        trained: the trial.
        ranks: the processes that share the batch.

    Returns:
        The loss of the whole batch before the update.

    Raises:
        UserError: if the model has created a parameter that the optimiser does not know.
    """
    run, model, optimizer = trained.run, trained.model, trained.optimizer
    train = run.config.train
    _set_rates(optimizer, run.learning_rate(run.step), train)
    batch = run.batch()
    model.train()
    total = None
    while total is None:
        held = min(run.rows or len(batch), len(batch))
        seed_generators(_own_seed(run, ranks), model.head.weight.device)
        optimizer.zero_grad(set_to_none=True)
        try:
            total = _add_up_gradients(trained, batch, held, ranks)
        except torch.OutOfMemoryError:  # before any weight has changed
            if held == 1 or ranks.count > 1:
                raise
            run.rows = held // 2
    ranks.add_up([total, *(p.grad for p in model.parameters() if p.grad is not None)])
    if train.grad_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), train.grad_clip)
    optimizer.step()
    return total.item()


def _add_up_gradients(trained: Trained, batch: Batch, rows: int, ranks: Ranks) -> Tensor:
    """Accumulate the gradients of this process's share of a batch, `rows` examples at a time;
    returns its share of the loss."""
    run, model = trained.run, trained.model
    device = model.head.weight.device
    total = model.head.weight.new_zeros(())
    key, own = dropout_key(run, run.step), ranks.rows(len(batch))
    for first, part in zip(range(own.start, own.stop, rows), batch[own].split(rows), strict=True):
        there = part.to(device)
        with mixed_precision(run.config.train, device), dropout_masks(key, first):
            loss = model.loss(there.inputs, there.positions, there.targets)
        _refuse_untrained(model, trained.optimizer)
        loss = loss * (len(part) / len(batch))
        loss.backward()
        total += loss.detach()
    return total


def _set_rates(optimizer: torch.optim.Optimizer, rate: float, train: TrainConfig) -> None:
    """Set the learning rates of this step. Groups with their own peak (S4's fixed rates, users'
    optimisers) follow the same schedule, scaled to that peak."""
    for group in optimizer.param_groups:
        own = group["own_rate"]
        group["lr"] = rate if own is None else own * (rate / train.learning_rate)


def dropout_key(run: Run, step: int) -> tuple[int, int]:
    """Key of all dropout masks of a step."""
    return key_words(derive_seed(run.config.seeds.order, "dropout", step))


def _own_seed(run: Run, ranks: Ranks) -> int:
    """Seed of the random numbers that a user's mixer draws. It differs between processes; process 0
    has the same as a single process."""
    others = [ranks.rank] if ranks.rank else []
    return derive_seed(run.config.seeds.order, "dropout", run.step, *others)


def _refuse_untrained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse a parameter created after the optimiser: it would silently keep its initial values."""
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in known:
            raise UserError(
                f"the parameter {name} was created, or its requires_grad set, in a forward pass."
                " The optimiser was made before and would never train it: create parameters in the"
                " mixer's constructor"
            )
