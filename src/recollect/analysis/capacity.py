"""How much a model remembers: bits of the answers that its state must hold.

Let A be the answers of an example and S the state before the first question. Given the questions,
A has the entropy H, which the task knows (`Task.answer_bits`); no model that answers from S has a
lower cross-entropy than H(A | S). So S holds at least

    H(A) - H(A | S)  >=  H(A) - sum of the cross-entropies of the answers

bits of A. Half-known answers count, unlike in accuracy, and no assumption on the model is made. For
MQAR with D pairs and V values, H = log2 V! / (V - D)!.

Two limits to compare it with: the bits that the state is stored in, and what a linear memory can
hold. A matrix of d x d numbers returns up to p associations, each right against all others, with
p ln p = d^2 / 2 to leading order (arXiv 2605.10795, of a model that decouples the competing
answers; arXiv 2605.05189 has the same threshold as a conjecture, and proves its order). An answer
is one of p, log2 p bits, so that this is p log2 p / d^2 = 1 / (2 ln 2) = 0.72 bits a number. With
more values than pairs the same argument gives the same share: fewer pairs, of more bits each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from recollect.analysis.scaling import state_bytes
from recollect.models.config import ModelConfig
from recollect.tasks.task import Task

LINEAR_BITS = 1 / (2 * math.log(2))
"""What a linear memory holds, for each of its numbers, in bits."""
RAW_BITS = 32
"""Of a number of a state, which is measured in float32."""
EXAMPLES = 64
"""Of which the earliest question counts."""


@dataclass(frozen=True)
class Asked:
    """What an example asks.

    Attributes:
        bits: the entropy of all its answers.
        answers: how many it has.
        begins: tokens that are read before the first question, of whichever example has it first.
    """

    bits: float
    answers: int
    begins: int

    def recovered(self, loss: float) -> float:
        """The bits that a state holds at least, of a model with this mean loss of an answer, in
        nats; 0 where the loss is as high as without any."""
        return max(0.0, self.bits - self.answers * loss / math.log(2))


def asked(task: Task) -> Asked | None:
    """What a task asks; None if the entropy of its answers is not known, or it has several
    lengths."""
    if task.answer_bits is None or len(task.components) > 1:
        return None
    batch = task.sample(EXAMPLES, seed=0)
    begins = 0 if batch.positions is None else int(batch.positions[:, 0].min())
    return Asked(task.answer_bits, batch.targets.shape[1], begins)


def state_numbers(model: ModelConfig, task: Task) -> int | None:
    """How many numbers a model carries before the first question, all layers together, measured.

    Returns:
        None if one of its mixers has no step form, or the task says nothing of its answers.
    """
    what = asked(task)
    if what is None:
        return None
    held = state_bytes(model.for_tasks([task]), max(1, what.begins))
    return None if held is None else held * 8 // RAW_BITS
