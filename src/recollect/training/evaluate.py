"""Loss and accuracy of a model on a set of examples."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F

from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.result import Metrics

LOGITS_AT_ONCE = 2**24
"""Evaluation works on as many examples as give this many logits: 64 MiB in float32."""


@torch.no_grad()
def evaluate(model: LanguageModel, batches: Iterable[Batch]) -> Metrics:
    """Mean cross-entropy and accuracy over all supervised positions of `batches`."""
    was_training = model.training
    model.eval()
    weight = model.head.weight
    loss, right, answers, whole, examples = 0.0, 0, 0, 0, 0
    for batch in batches:
        rows = max(1, LOGITS_AT_ONCE // (batch.targets.shape[1] * weight.shape[0]))
        for start in range(0, len(batch), rows):
            part = batch[start : start + rows].to(weight.device)
            logits = model(part.inputs, part.positions)
            loss += F.cross_entropy(
                logits.flatten(0, 1), part.targets.flatten(), reduction="sum"
            ).item()
            hits = logits.argmax(dim=-1) == part.targets
            right += int(hits.sum())
            whole += int(hits.all(dim=1).sum())
            answers += hits.numel()
            examples += len(part)
    model.train(was_training)
    return Metrics(loss / answers, right / answers, whole / examples)
