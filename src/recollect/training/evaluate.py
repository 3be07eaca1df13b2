"""Loss and accuracy of a model on a set of examples."""

from __future__ import annotations

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
    return metrics(torch.stack(scores).sum(dim=0), parts)


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
) -> Float64[Tensor, 3]:
    """The sum of the losses, how many answers are right, how many examples wholly so."""
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    hits = logits.argmax(dim=-1) == targets
    return torch.stack([losses.double(), hits.sum().double(), hits.all(dim=1).sum().double()])


def metrics(scores: Float64[Tensor, 3], parts: Iterable[Batch]) -> Metrics:
    """The means of what `score` summed over these examples."""
    sizes = [(part.targets.numel(), len(part)) for part in parts]
    answers, examples = (sum(counts) for counts in zip(*sizes, strict=True))
    loss, right, whole = scores.tolist()
    return Metrics(loss / answers, right / answers, whole / examples)
