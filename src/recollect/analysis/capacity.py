"""How much a model remembers: a lower bound on the bits of the answers that its state holds.

Let A be the answers of an example and S the recurrent state before the first question. Given the
questions, A has entropy H(A), which the task knows (`Task.answer_bits`). No model that answers from
S has a lower cross-entropy than H(A | S). So S holds at least

    H(A) - H(A | S)  >=  H(A) - sum of the cross-entropies of the answers

bits of A. Unlike accuracy, this counts partly known answers. It assumes nothing about the model.
For MQAR with D pairs and V values, H(A) = log2 V! / (V - D)!.

It can be compared with two limits: the bits in which the state is stored, and the capacity of a
linear associative memory. A d x d matrix returns up to p associations correctly, with p ln p = d^2
/ 2 to leading order (arXiv 2605.10795, for a model that decouples the competing answers; arXiv
2605.05189 conjectures the same threshold and proves its order). An answer is one of p and has log2
p bits, so the limit is p log2 p / d^2 = 1 / (2 ln 2) = 0.72 bits per number. With more values than
pairs the same argument gives the same limit: there are fewer pairs, but each has more bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from recollect.analysis.scaling import state_size
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.referee.state import Size
from recollect.referee.verdict import Unmeasurable
from recollect.tasks.batch import Batch
from recollect.tasks.task import Task

LINEAR_BITS = 1 / (2 * math.log(2))
"""Capacity of a linear associative memory, in bits per number of its state."""
RAW_BITS = 32
"""Bits of one number of a state in float32."""
EXAMPLES = 64
"""Number of examples in which the earliest question is looked for, unless some are given."""


@dataclass(frozen=True)
class Asked:
    """The questions of a task's examples.

    Attributes:
        bits: entropy of all answers of an example.
        answers: number of answers of an example.
        begins: tokens before the first question; the smallest number that the task may have
            (`Task.first_question`), or that over the examples if the task does not know it.
    """

    bits: float
    answers: int
    begins: int

    def recovered(self, loss: float) -> float:
        """Lower bound on the bits that a state holds, for a mean loss per answer in nats; at least
        0."""
        return max(0.0, self.bits - self.answers * loss / math.log(2))


def asked(task: Task, batch: Batch | None = None) -> Asked | None:
    """Questions of a task; None if the entropy of its answers is unknown or it is a mixture.

    Args:
        task: the task.
        batch: the examples that are measured; None: examples of its own.

    Raises:
        UserError: if an example asks before `Task.first_question`.
    """
    if task.answer_bits is None or len(task.components) > 1:
        return None
    batch = task.sample(EXAMPLES, seed=0) if batch is None else batch
    first = 0 if batch.positions is None else int(batch.positions.min())
    begins = first if task.first_question is None else task.first_question
    if first < begins:
        raise UserError(
            f"an example of {task.label} asks at position {first}, but first_question is {begins}:"
            " expected the smallest position of all examples"
        )
    return Asked(task.answer_bits, batch.targets.shape[1], begins)


def state_asked(model: ModelConfig, task: Task, what: Asked) -> Size:
    """Measure the size of a model's state before the first question.

    Args:
        model: the model.
        task: the task.
        what: its questions.

    Returns:
        What all layers carry together.

    Raises:
        UserError: if a mixer cannot be built.
        Misbehaviour: if the state cannot be measured, or holds no numbers.
    """
    size = state_size(model.for_tasks([task]), max(1, what.begins))
    if not size.numbers:
        raise Unmeasurable("its state holds no numbers")
    return size
