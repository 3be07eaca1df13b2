"""Token-mixing matrices of a trained model on one example."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recollect.analysis.mixing import mixing_matrices
from recollect.models.language_model import LanguageModel
from recollect.ops.occurrence import previous_occurrence
from recollect.tasks.batch import Batch
from recollect.tasks.task import Task


@dataclass(frozen=True)
class AttentionMap:
    """The token-mixing matrices of a model on an example.

    Attributes:
        tokens: the tokens as text.
        queries: the supervised positions.
        keys: for each query, the position of the last earlier occurrence of its token; -1 if none.
        matrices: the token-mixing matrix of each layer, see `analysis.mixing`.
    """

    tokens: tuple[str, ...]
    queries: Int64[Tensor, " Q"]
    keys: Int64[Tensor, " Q"]
    matrices: Float[Tensor, "layers L L"]


def attention_map(model: LanguageModel, batch: Batch, task: Task) -> AttentionMap:
    """Compute the attention map of the first example of a batch.

    Args:
        model: in evaluation mode during the call; left unchanged.
        batch: examples of the task.
        task: gives the tokens' text.
    """
    first = batch[:1].to(model.head.weight.device)
    matrices = [matrix[0].cpu() for matrix in mixing_matrices(model, first.inputs)]
    tokens = batch.inputs[0]
    everywhere = torch.arange(len(tokens))
    queries = everywhere if batch.positions is None else batch.positions[0]
    return AttentionMap(
        tokens=tuple(task.spell(int(token)) for token in tokens),
        queries=queries,
        keys=previous_occurrence(tokens)[queries],
        matrices=torch.stack(matrices),
    )
