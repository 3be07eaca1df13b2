"""One step of an optimiser: at once, or a few examples at a time, in one process or in several."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recollect.errors import UserError, no_exit
from recollect.models.language_model import LanguageModel
from recollect.ops.dropout import key_words, masks_of
from recollect.seeding import derive_seed
from recollect.tasks.batch import Batch
from recollect.training.config import TrainConfig
from recollect.training.precision import mixed_precision
from recollect.training.ranks import ALONE, Ranks
from recollect.training.run import Run


@no_exit
def training_step(
    run: Run,
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    *,
    rows: int | None = None,
    ranks: Ranks = ALONE,
) -> float:
    """Update a model on the next batch of a run.

    Args:
        run: gives batch, learning rate and seeds.
        model: what is trained.
        optimizer: of the model.
        rows: how many examples memory should hold at a time; gradients are added up over them.
            None: all. Where a GPU has no memory for them, from then on half as many.
        ranks: the processes that share the batch.

    Returns:
        The loss before the update, of the whole batch.

    Raises:
        UserError: where the model has made a parameter that the optimiser does not know.
    """
    train = run.config.train
    _set_rates(optimizer, run.learning_rate(run.step), train)
    batch = run.batch()
    model.train()
    total = None
    while total is None:
        held = min(rows or len(batch), run.rows or len(batch))
        _seed(_own_seed(run, ranks), model.head.weight.device)
        optimizer.zero_grad(set_to_none=True)
        try:
            total = _add_up_gradients(run, model, optimizer, batch, held, ranks)
        except torch.OutOfMemoryError:  # before any weight has changed
            if held == 1 or ranks.count > 1:
                raise
            run.rows = held // 2
    ranks.add_up([total, *(p.grad for p in model.parameters() if p.grad is not None)])
    if train.grad_clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), train.grad_clip)
    optimizer.step()
    return total.item()


def _add_up_gradients(
    run: Run,
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rows: int,
    ranks: Ranks,
) -> Tensor:
    """The gradients of this process's share of a batch, so many examples at a time; its share of
    the loss."""
    device = model.head.weight.device
    total = model.head.weight.new_zeros(())
    key, own = dropout_key(run, run.step), ranks.rows(len(batch))
    for first, part in zip(range(own.start, own.stop, rows), batch[own].split(rows), strict=True):
        there = part.to(device)
        with mixed_precision(run.config.train, device), masks_of(key, first):
            loss = model.loss(there.inputs, there.positions, there.targets)
        _refuse_untrained(model, optimizer)
        loss = loss * (len(part) / len(batch))
        loss.backward()
        total += loss.detach()
    return total


def _set_rates(optimizer: torch.optim.Optimizer, rate: float, train: TrainConfig) -> None:
    """The rate of this step; where a mixer's authors fixed the peak, as S4's do, or a user's
    optimiser has another one, the schedule has the same shape below that."""
    for group in optimizer.param_groups:
        own = group["own_rate"]
        group["lr"] = rate if own is None else own * (rate / train.learning_rate)


def dropout_key(run: Run, step: int) -> tuple[int, int]:
    """The key of all masks of a step."""
    return key_words(derive_seed(run.config.seeds.order, "dropout", step))


def _seed(seed: int, device: torch.device) -> None:
    """Seed the generators that a model on `device` draws from.

    `torch.manual_seed` gives the same numbers but takes longer: it visits every kind of
    accelerator.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def _own_seed(run: Run, ranks: Ranks) -> int:
    """For what a user's mixer draws: each process has numbers of its own; those of the first are
    the ones that it has alone."""
    others = [ranks.rank] if ranks.rank else []
    return derive_seed(run.config.seeds.order, "dropout", run.step, *others)


def _refuse_untrained(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """A parameter made after the optimiser would keep its initial values without a word."""
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in known:
            raise UserError(
                f"the parameter {name} was made, or set to be trained, in a forward pass, after the"
                " optimiser, which would never train it: do that in the mixer's constructor"
            )
