"""Correct answers by the distance between key and query, and by the order of the pairs."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import torch

from recollect.models.language_model import LanguageModel
from recollect.ops.occurrence import previous_occurrence
from recollect.tasks.batch import Batch
from recollect.training.evaluate import in_parts


@torch.no_grad()
def answers(model: LanguageModel, batches: Iterable[Batch]) -> pd.DataFrame:
    """One row for each answer to a token that occurred before, such as a query of MQAR.

    Columns: `right`; `gap`, the distance in tokens between the query and the last earlier
    occurrence of its token; `pair`, the rank of the token among the example's queried tokens, in
    order of these occurrences and from 0.

    Args:
        model: in evaluation mode during the call; its mode is restored.
        batches: examples.
    """
    was_training = model.training
    model.eval()
    weight = model.head.weight
    parts = in_parts(batches, weight.shape[0], weight.device)
    frames = [_answers(model, part.to(weight.device)) for _, part in parts]
    model.train(was_training)
    return pd.concat(frames, ignore_index=True)


def _answers(model: LanguageModel, batch: Batch) -> pd.DataFrame:
    length = batch.inputs.shape[1]
    positions = batch.positions
    if positions is None:
        positions = torch.arange(length, device=batch.inputs.device).expand_as(batch.inputs)
    right = model(batch.inputs, positions).argmax(-1) == batch.targets
    key = previous_occurrence(batch.inputs).gather(1, positions)
    known = key >= 0
    order = key.where(known, torch.full_like(key, length)).argsort(dim=1, stable=True).argsort(1)
    columns = {"right": right, "gap": positions - key, "pair": order}
    return pd.DataFrame({name: values[known].cpu().numpy() for name, values in columns.items()})
