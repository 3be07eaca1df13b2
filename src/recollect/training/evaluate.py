"""Loss and accuracy of a model on a set of examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.result import Metrics

LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**26}
"""Evaluation works on as many examples as give this many logits: few that a cache holds, or many
that work in parallel."""


@torch.no_grad()
def evaluate(model: LanguageModel, batches: Iterable[Batch]) -> Metrics:
    """Mean cross-entropy and accuracy over all supervised positions of `batches`."""
    was_training = model.training
    model.eval()
    weight = model.head.weight
    parts = list(in_parts(batches, weight.shape[0], weight.device))
    scores = []
    for part in parts:
        there = part.to(weight.device)
        scores.append(score(model(there.inputs, there.positions), there.targets))
    model.train(was_training)
    return metrics(_sum(scores), parts)


def in_parts(
    batches: Iterable[Batch], logits_per_answer: int, device: torch.device
) -> Iterator[Batch]:
    """The examples of all batches, as many at a time as a device should work on."""
    for batch in batches:
        rows = examples_at_once(batch.targets.shape[1] * logits_per_answer, device)
        for start in range(0, len(batch), rows):
            yield batch[start : start + rows]


def examples_at_once(logits_per_example: int, device: torch.device) -> int:
    """How many examples give as many logits as a device should work on."""
    at_once = LOGITS_AT_ONCE.get(device.type, LOGITS_AT_ONCE["cpu"])
    return max(1, at_once // logits_per_example)


def score(
    logits: Float[Tensor, "batch Q vocab"], targets: Int64[Tensor, "batch Q"]
) -> Float64[Tensor, 7]:
    """The sum of the losses, how many answers are right, how many examples wholly so; and for
    standard errors, with l and r an example's loss and right answers: the sums of l², r², Q l and
    Q r."""
    log_p = F.log_softmax(logits.flatten(0, 1), dim=-1)
    loss = F.nll_loss(log_p, targets.flatten(), reduction="sum")
    of_answers = -log_p.gather(1, targets.flatten()[:, None]).view_as(targets)
    hits = logits.argmax(dim=-1) == targets
    sums = [loss.double(), hits.sum().double(), hits.all(dim=1).sum().double()]
    answers = targets.shape[1]
    by_example = [of_answers.double().sum(dim=1), hits.sum(dim=1).double()]
    sums += [each.square().sum() for each in by_example]
    sums += [answers * each.sum() for each in by_example]
    return torch.stack(sums)


def metrics(scores: Float64[Tensor, 7], parts: Iterable[Batch]) -> Metrics:
    """The means of what `score` summed over these examples, and their standard errors."""
    sizes = [(part.targets.shape[1], len(part)) for part in parts]
    answers, examples = (sum(q * n for q, n in sizes), sum(n for _, n in sizes))
    answers_squared = sum(q**2 * n for q, n in sizes)
    loss, right, whole, loss_squared, right_squared, loss_answers, right_answers = scores.tolist()

    def error(mean: float, squared: float, product: float) -> float | None:
        """Of a ratio of sums over examples: answers of one example are not independent."""
        residuals = squared - 2 * mean * product + mean**2 * answers_squared
        if examples < 2 or not math.isfinite(residuals):
            return None
        return math.sqrt(max(0.0, residuals) * examples / (examples - 1)) / answers

    mean_loss, accuracy = loss / answers, right / answers
    return Metrics(
        loss=mean_loss,
        accuracy=accuracy,
        example_accuracy=whole / examples,
        loss_error=error(mean_loss, loss_squared, loss_answers),
        accuracy_error=error(accuracy, right_squared, right_answers),
    )


def _sum(scores: list[Float64[Tensor, 7]]) -> Float64[Tensor, 7]:
    """The first three apart, so that their sums are the same to the bit whatever else is scored."""
    halves = zip(*(each.split([3, 4]) for each in scores), strict=True)
    return torch.cat([torch.stack(half).sum(dim=0) for half in halves])
