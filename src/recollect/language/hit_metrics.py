"""Metrics of texts: the share of AR hits and the loss on them."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recollect.errors import UserError
from recollect.language.ar_hits import MAX_TRAIN_COUNTS, is_hit
from recollect.language.counts import NgramCounts
from recollect.language.observed import observe_shard
from recollect.language.shards import Shard
from recollect.language.windows import Windows
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric

HIT_LOSS, HIT_SHARE = "hit_loss", "hit_share"


def hit_metrics(vocab_size: int) -> tuple[Metric, ...]:
    """Metrics: mean loss on AR hits in nats (NaN without hits), and share of hits among the tokens.

    Args:
        vocab_size: number of token ids, for the loss of a uniform prediction.
    """
    return (
        Metric(HIT_LOSS, _hit_loss, lower_is_better=True, guess=math.log(vocab_size)),
        Metric(HIT_SHARE, _hit_share),
    )


def hits_among(windows: Batch, counts: NgramCounts, end: int | None = None) -> Bool[Tensor, "n L"]:
    """Which targets are AR hits, by the paper's bound on the training count.

    Args:
        windows: windows of a text; each is its own context.
        counts: bigram counts of the training text.
        end: the token that ends documents; bigrams with it are no hits. None: there is none.
    """
    rows, length = windows.inputs.shape
    tokens = torch.cat([windows.inputs, windows.targets[:, -1:]], dim=1).numpy().ravel()
    text = Shard(tokens, np.arange(1, rows + 1) * (length + 1))  # each window a document
    cut = Windows(context=length, stride=length)
    seen = observe_shard(text, cut, counts, np.empty((0, rows * length), np.float32))
    hits = is_hit(seen.distance, seen.train_count, MAX_TRAIN_COUNTS[0])
    found = torch.from_numpy(hits).view(rows, length)
    return found if end is None else found & (windows.inputs != end) & (windows.targets != end)


def _hit_loss(
    logits: Float[Tensor, "n L vocab"], batch: Batch
) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
    """Sum of the losses on the hits of each window, and number of hits."""
    hits = _marks(batch)
    loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    return torch.where(hits > 0, loss.view_as(hits), 0).double().sum(dim=1), hits.sum(dim=1)


def _hit_share(
    logits: Tensor,  # noqa: ARG001
    batch: Batch,
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Number of hits and number of targets in each window."""
    hits = _marks(batch)
    return hits.sum(dim=1), torch.ones_like(hits).sum(dim=1)


def _marks(batch: Batch) -> Int64[Tensor, "n L"]:
    if batch.marks is None:
        raise UserError(
            "AR hits are not marked in windows of the train part: measure on windows of"
            ' task.split("valid") or task.split("test")'
        )
    return batch.marks
