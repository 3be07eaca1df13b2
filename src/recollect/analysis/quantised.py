"""How much of a trained model's memory survives when its state is stored in few bits.

The bits of a state in float32 are far more than what it can hold (`analysis.capacity`). Here the
state before the first question is rounded to a few bits a number, once, and the model goes on from
it: what it then answers, it has kept in so many bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from recollect.analysis.capacity import RAW_BITS, Asked, asked, state_numbers
from recollect.errors import UserError
from recollect.models.language_model import LanguageModel
from recollect.referee.walk import walk
from recollect.tasks.batch import Batch
from recollect.tasks.task import Task
from recollect.training.evaluate import metrics, score

BITS = (RAW_BITS, 8, 4, 2)


@torch.no_grad()
def capacity(
    model: LanguageModel,
    task: Task,
    *,
    bits: Sequence[int] = BITS,
    examples: int = 256,
    seed: int = 0,
) -> pd.DataFrame:
    """What a trained model holds before the first question, with its state in fewer bits too.

        result = rc.train(config, task)
        rc.capacity(result.model, task)

    Args:
        model: a trained model.
        task: one that knows the entropy of its answers (`Task.answer_bits`), of one length.
        bits: of a number of the state; 32: as it is.
        examples: on which it is measured.
        seed: of the examples.

    Returns:
        A row for each of `bits`: `accuracy`, `loss` in nats, the `recovered_bits` (a lower bound),
        of which there are `asked_bits`, the `numbers` of the state, and the bits `per_number` and
        `per_bit` of it.

    Raises:
        UserError: if the task does not say what it asks, the model has no step form, or bits are
            not from 2 to 32.
    """
    if not all(2 <= count <= RAW_BITS for count in bits):
        raise UserError(f"bits={list(bits)}: expected whole numbers from 2 to {RAW_BITS}")
    what, numbers = asked(task), state_numbers(model.config, task)
    if what is None:
        raise UserError(
            f"{task.label} does not say how many bits its answers have: expected a task of one"
            " length with answer_bits, such as mqar"
        )
    if numbers is None:
        raise UserError(f"{model.config.label} has no step form, so that its state is not known")
    was_training = model.training
    model.eval()
    batch = task.sample(examples, seed).to(model.head.weight.device)
    rows = [_row(model, batch, what, numbers, count) for count in bits]
    model.train(was_training)
    return pd.DataFrame(rows)


def quantised(state: Float[Tensor, "batch ..."], bits: int) -> Float[Tensor, "batch ..."]:
    """Each number as the nearest of 2**bits - 1 equal steps around 0, which reach as far as the
    largest of the same sequence and tensor."""
    steps = 2 ** (bits - 1) - 1
    reach = state.abs().flatten(1).amax(1).view(-1, *(1 for _ in state.shape[1:]))
    unit = torch.where(reach > 0, reach / steps, 1)
    return (state / unit).round() * unit


def _row(
    model: LanguageModel, batch: Batch, what: Asked, numbers: int, bits: int
) -> dict[str, Any]:
    assert batch.positions is not None
    state = model.initial_state(len(batch))
    logits = []
    for place in range(int(batch.positions.max()) + 1):
        if place == what.begins and bits < RAW_BITS:
            _quantise(state, bits, len(batch))
        said, state = model.step(batch.inputs[:, place], state)
        logits.append(said if place >= what.begins else said[:, :0])
    asked_at = batch.positions - what.begins
    rows = torch.arange(len(batch), device=asked_at.device)[:, None]
    answers = torch.stack(logits[what.begins :], dim=1)[rows, asked_at]
    found = metrics(score(answers, batch), [batch])
    recovered = what.recovered(found.loss)
    return {
        "bits": bits,
        "accuracy": found.accuracy,
        "loss": found.loss,
        "recovered_bits": recovered,
        "asked_bits": what.bits,
        "numbers": numbers,
        "per_number": recovered / numbers,
        "per_bit": recovered / (numbers * bits),
    }


def _quantise(state: Any, bits: int, batch: int) -> None:
    """Round what a state keeps of each sequence, in place."""
    found = walk(state)
    found.require_readable()
    for tensor in found.tensors:
        if tensor.is_floating_point() and tensor.ndim and tensor.shape[0] == batch:
            tensor.copy_(quantised(tensor, bits))
