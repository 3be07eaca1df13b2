"""How much a trained model still recalls when its recurrent state is stored in few bits.

A float32 state has far more bits than it can hold information (`analysis.capacity`). Here the state
is rounded once, before the first question, to a few bits per number, and the model continues from
it. What it still answers correctly was stored in that many bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from recollect.analysis.capacity import RAW_BITS, Asked, asked, state_asked
from recollect.errors import UserError
from recollect.models.language_model import LanguageModel
from recollect.referee.state import Size
from recollect.referee.verdict import Misbehaviour
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
    bits: int | Sequence[int] = BITS,
    examples: int = 256,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure the bits that a trained model's state holds, also with the state in fewer bits.

        result = rc.train(config, task)
        rc.capacity(result.model, task)

    Args:
        model: a trained model.
        task: a task of one length that knows the entropy of its answers (`Task.answer_bits`).
        bits: bits per number of the state, one or several whole numbers; 32: unrounded.
        examples: number of examples to measure on.
        seed: of the examples.

    Returns:
        One row for each of `bits`: `accuracy`; `loss` in nats; `recovered_bits`, the lower bound on
        what the state holds; `asked_bits`, the entropy of the answers; `numbers`, the size of the
        state; and recovered bits `per_number` and `per_bit` of the state.

    Raises:
        UserError: if the entropy of the task's answers is unknown, the task has more token ids than
            the model, the model's state cannot be measured, bits are not from 2 to 32, or an
            example asks before `Task.first_question`.
    """
    counts = _counts(bits)
    batch = task.sample(examples, seed)
    what = asked(task, batch)
    if what is None:
        raise UserError(
            f"the entropy of the answers of {task.label} is unknown: expected a task of one length"
            " with answer_bits, such as mqar"
        )
    known = len(model.head.weight)
    if task.vocab_size > known:
        raise UserError(
            f"{task.label} has vocab_size={task.vocab_size}, but the model was trained with {known}"
        )
    size = _size(model, task, what)
    was_training = model.training
    model.eval()
    try:
        there = batch.to(model.head.weight.device)
        return pd.DataFrame([_row(model, there, what, size.numbers, n) for n in counts])
    finally:
        model.train(was_training)


def _counts(bits: int | Sequence[int]) -> list[int]:
    """One or several numbers of bits, as a list.

    Raises:
        UserError: unless they are whole numbers from 2 to `RAW_BITS`.
    """
    counts = list(bits) if isinstance(bits, Iterable) else [bits]
    if not all(isinstance(n, Integral) and 2 <= n <= RAW_BITS for n in counts):
        raise UserError(f"bits={bits!r}: expected whole numbers from 2 to {RAW_BITS}")
    return [int(n) for n in counts]


def _size(model: LanguageModel, task: Task, what: Asked) -> Size:
    try:
        return state_asked(model.config, task, what)
    except Misbehaviour as error:
        raise UserError(f"the state of {model.config.label} is not measured: {error}") from error


def quantised(state: Float[Tensor, "batch ..."], bits: int) -> Float[Tensor, "batch ..."]:
    """Round to 2**bits - 1 equally spaced levels around 0, scaled to the largest absolute value of
    each sequence in the tensor."""
    steps = 2 ** (bits - 1) - 1
    reach = state.abs().flatten(1).amax(1).view(-1, *(1 for _ in state.shape[1:]))
    unit = torch.where(reach > 0, reach / steps, 1)
    return (state / unit).round() * unit


def _row(
    model: LanguageModel, batch: Batch, what: Asked, numbers: int, bits: int
) -> dict[str, Any]:
    answers = _answers(model, batch, what.begins, bits)
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


def _answers(
    model: LanguageModel, batch: Batch, begins: int, bits: int
) -> Float[Tensor, "batch Q vocab"]:
    """Logits at the questions, step by step, with the state rounded after `begins` tokens."""
    assert batch.positions is not None
    weight, state = model.head.weight, model.initial_state(len(batch))
    answers = weight.new_full((*batch.targets.shape, len(weight)), math.nan)  # until it is asked
    for place in range(int(batch.positions.max()) + 1):
        if place == begins and bits < RAW_BITS:
            _quantise(state, bits, len(batch))
        said, state = model.step(batch.inputs[:, place], state)
        rows, turns = (batch.positions == place).nonzero(as_tuple=True)
        answers[rows, turns] = said[rows]
    return answers


def _quantise(state: Any, bits: int, batch: int) -> None:
    """Round the tensors of a state in place.

    Raises:
        UserError: if a tensor does not begin with the batch dimension.
    """
    found = walk(state)
    found.require_readable()
    for tensor in found.tensors:
        if not tensor.is_floating_point() or not tensor.ndim:
            continue
        if tensor.shape[0] != batch:
            raise UserError(
                f"a tensor of the state has shape {tuple(tensor.shape)}: expected the {batch}"
                " examples as its first dimension, so that each can be rounded by itself"
            )
        tensor.copy_(quantised(tensor, bits))
