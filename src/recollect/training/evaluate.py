"""Loss, accuracy and other metrics of a model on a set of examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.training.ranks import ALONE, Ranks
from recollect.training.result import Measure, Metrics

LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**29}
"""Logits that evaluation computes at a time: on a CPU few enough for its cache, on a GPU enough to
keep it busy."""
SEQUENCES_AT_ONCE = 65_535
"""Most sequences at a time: CUDA limits the grid dimension in which kernels number them."""

SUMS = 7
"""Sums that `score` returns for the metrics of every trial."""
FURTHER_SUMS = 5
"""Sums that `score` returns for each further metric."""


@torch.no_grad()
def evaluate(
    model: LanguageModel,
    batches: Iterable[Batch],
    further: Sequence[Metric] = (),
    ranks: Ranks = ALONE,
) -> Metrics:
    """Measure mean cross-entropy, accuracy and further metrics over all supervised positions.

    If memory runs out, half as many examples are evaluated at a time.

    Args:
        model: in evaluation mode during the call; its mode is restored.
        batches: the examples.
        further: metrics besides loss and accuracy.
        ranks: the processes that share the examples of each batch.
    """
    was_training = model.training
    model.eval()
    batches = list(batches)
    own, smaller, total = [batch[ranks.rows(len(batch))] for batch in batches], 1, None
    while total is None:
        parts = list(in_parts(own, smaller * model.head.weight.shape[0], model.head.weight.device))
        try:
            total = _sum([_score(model, part, further) for part in parts])
        except torch.OutOfMemoryError:
            if all(len(part) == 1 for part in parts):
                raise
            smaller *= 2
    model.train(was_training)
    ranks.add_up([total])
    return metrics(total, batches, further)


def _score(model: LanguageModel, batch: Batch, further: Sequence[Metric]) -> Float64[Tensor, " S"]:
    there = batch.to(model.head.weight.device)
    return score(model(there.inputs, there.positions), there, further)


def in_parts(
    batches: Iterable[Batch],
    logits_per_answer: int,
    device: torch.device,
    most: int = SEQUENCES_AT_ONCE,
) -> Iterator[Batch]:
    """Split batches into parts of a size that suits a device, of at most `most` examples."""
    for batch in batches:
        rows = min(most, examples_at_once(batch.targets.shape[1] * logits_per_answer, device))
        for start in range(0, len(batch), rows):
            yield batch[start : start + rows]


def examples_at_once(logits_per_example: int, device: torch.device) -> int:
    """Number of examples that a device should evaluate at a time."""
    at_once = LOGITS_AT_ONCE.get(device.type, LOGITS_AT_ONCE["cpu"])
    return max(1, at_once // logits_per_example)


def score(
    logits: Float[Tensor, "batch Q vocab"], batch: Batch, further: Sequence[Metric] = ()
) -> Float64[Tensor, " S"]:
    """Sums over examples from which `metrics` computes means and standard errors.

    Returns:
        The sum of the losses, the number of right answers, and the number of examples with all
        answers right. Then, with an example's loss l and number of right answers r, the sums of l²,
        r², Q l and Q r. Then, for each further metric with an example's value v and weight w, the
        sums of v, w, v², v w and w².
    """
    targets = batch.targets
    log_p = F.log_softmax(logits.flatten(0, 1), dim=-1)
    loss = F.nll_loss(log_p, targets.flatten(), reduction="sum")
    of_answers = -log_p.gather(1, targets.flatten()[:, None]).view_as(targets)
    hits = logits.argmax(dim=-1) == targets
    sums = [loss.double(), hits.sum().double(), hits.all(dim=1).sum().double()]
    answers = targets.shape[1]
    by_example = [of_answers.double().sum(dim=1), hits.sum(dim=1).double()]
    sums += [each.square().sum() for each in by_example]
    sums += [answers * each.sum() for each in by_example]
    for metric in further:
        v, w = metric.sums(logits, batch)
        sums += [each.sum() for each in (v, w, v.square(), v * w, w.square())]
    return torch.stack(sums)


def metrics(
    scores: Float64[Tensor, " S"], parts: Iterable[Batch], further: Sequence[Metric] = ()
) -> Metrics:
    """Means and standard errors from the sums that `score` returned for these examples."""
    sizes = [(part.targets.shape[1], len(part)) for part in parts]
    answers, examples = (sum(q * n for q, n in sizes), sum(n for _, n in sizes))
    answers_squared = sum(q**2 * n for q, n in sizes)
    sums = scores.tolist()
    loss, right, whole, loss_squared, right_squared, loss_answers, right_answers = sums[:SUMS]

    def measure(value: float, weight: float, *squares: float, lower: bool = False) -> Measure:
        """Ratio of two sums over examples, with its standard error over examples; the answers of
        one example are not independent."""
        mean = value / weight if weight else math.nan
        squared, product, weights_squared = squares
        residuals = squared - 2 * mean * product + mean**2 * weights_squared
        if examples < 2 or not math.isfinite(residuals):
            return Measure(mean, None, lower)
        error = math.sqrt(max(0.0, residuals) * examples / (examples - 1)) / weight
        return Measure(mean, error, lower)

    mean_loss = measure(loss, answers, loss_squared, loss_answers, answers_squared)
    accuracy = measure(right, answers, right_squared, right_answers, answers_squared)
    wholly = measure(whole, examples, whole, whole, examples)
    places = range(SUMS, len(sums), FURTHER_SUMS)
    return Metrics(
        loss=mean_loss.value,
        accuracy=accuracy.value,
        example_accuracy=wholly.value,
        loss_error=mean_loss.error,
        accuracy_error=accuracy.error,
        example_accuracy_error=wholly.error,
        further={
            metric.name: measure(*sums[i : i + FURTHER_SUMS], lower=metric.lower_is_better)
            for metric, i in zip(further, places, strict=True)
        },
    )


def _sum(scores: list[Float64[Tensor, " S"]]) -> Float64[Tensor, " S"]:
    """Add up scores. The first three are summed separately, so that they are the same to the bit
    whichever further metrics there are."""
    halves = zip(*(each.split([3, len(each) - 3]) for each in scores), strict=True)
    return torch.cat([torch.stack(half).sum(dim=0) for half in halves])
