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
GROUPS = 16
"""Groups of the examples, whose mean losses show how much the difference of two models depends on
the examples. Row i of a batch is in group i % GROUPS."""
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
    batches, weight = list(batches), model.head.weight
    smaller, total = 1, None
    while total is None:
        per_answer = smaller * weight.shape[0]
        parts = list(in_parts(batches, per_answer, weight.device, ranks=ranks))
        try:
            total = _sum([_score(model, part, further, first) for first, part in parts])
        except torch.OutOfMemoryError:
            if all(len(part) == 1 for _, part in parts):
                raise
            smaller *= 2
    model.train(was_training)
    ranks.add_up([total])
    return metrics(total, batches, further)


def _score(
    model: LanguageModel, batch: Batch, further: Sequence[Metric], first: int
) -> Float64[Tensor, " S"]:
    there = batch.to(model.head.weight.device)
    return score(model(there.inputs, there.positions), there, further, first)


def in_parts(
    batches: Iterable[Batch],
    logits_per_answer: int,
    device: torch.device,
    most: int = SEQUENCES_AT_ONCE,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[int, Batch]]:
    """Split this process's share of batches into parts of a size that suits a device.

    Args:
        batches: whole batches.
        logits_per_answer: logits computed for each answer.
        device: where they are computed.
        most: the largest number of examples in a part.
        ranks: the processes that share the examples of each batch.

    Yields:
        The index of a part's first row in its batch, and the part.
    """
    for batch in batches:
        own = ranks.rows(len(batch))
        rows = min(most, examples_at_once(batch.targets.shape[1] * logits_per_answer, device))
        for start in range(own.start, own.stop, rows):
            yield start, batch[start : min(start + rows, own.stop)]


def examples_at_once(logits_per_example: int, device: torch.device) -> int:
    """Number of examples that a device should evaluate at a time."""
    at_once = LOGITS_AT_ONCE.get(device.type, LOGITS_AT_ONCE["cpu"])
    return max(1, at_once // logits_per_example)


def score(
    logits: Float[Tensor, "batch Q vocab"],
    batch: Batch,
    further: Sequence[Metric] = (),
    first: int = 0,
) -> Float64[Tensor, " S"]:
    """Sums over examples from which `metrics` computes means and standard errors.

    Args:
        logits: the model's answers.
        batch: the examples, successive rows of a batch.
        further: metrics besides loss and accuracy.
        first: index of their first row in the whole batch.

    Returns:
        The sum of the losses, the number of right answers, and the number of examples with all
        answers right. Then, with an example's loss l and number of right answers r, the sums of l²,
        r², Q l and Q r. Then the sum of l over each of the `GROUPS`. Then, for each further metric
        with an example's value v and weight w, the sums of v, w, v², v w and w².
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
    groups, others = _by_group(by_example[0], first), []
    for metric in further:
        v, w = metric.sums(logits, batch)
        others += [each.sum() for each in (v, w, v.square(), v * w, w.square())]
    return torch.cat([torch.stack(sums), groups, *(each[None] for each in others)])


def _by_group(values: Float64[Tensor, " batch"], first: int) -> Float64[Tensor, " GROUPS"]:
    """Sum over each group; row 0 is row `first` of its batch."""
    before = first % GROUPS
    after = -(before + len(values)) % GROUPS
    return F.pad(values, (before, after)).reshape(-1, GROUPS).sum(dim=0)


def metrics(
    scores: Float64[Tensor, " S"], batches: Iterable[Batch], further: Sequence[Metric] = ()
) -> Metrics:
    """Means and standard errors from the sums of what `score` returned for all parts of these whole
    batches."""
    sizes = [(batch.targets.shape[1], len(batch)) for batch in batches]
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
    places = range(SUMS + GROUPS, len(sums), FURTHER_SUMS)
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
        loss_groups=_group_means(sums[SUMS : SUMS + GROUPS], sizes),
    )


def _group_means(sums: Sequence[float], sizes: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Mean over the answers of each group; empty if a group has fewer than two examples.

    Args:
        sums: the sum over each group.
        sizes: answers per example and number of examples of each batch.
    """
    rows = [[(q, len(range(group, n, GROUPS))) for q, n in sizes] for group in range(GROUPS)]
    if min(sum(n for _, n in own) for own in rows) < 2:
        return ()
    answers = [sum(q * n for q, n in own) for own in rows]
    return tuple(s / q if q else math.nan for s, q in zip(sums, answers, strict=True))


def _sum(scores: list[Float64[Tensor, " S"]]) -> Float64[Tensor, " S"]:
    """Add up scores. Each kind of sum is added apart, so that those of every trial are the same to
    the bit whichever further ones there are."""
    kinds = zip(*(each.split([3, SUMS - 3, len(each) - SUMS]) for each in scores), strict=True)
    return torch.cat([torch.stack(kind).sum(dim=0) for kind in kinds])
