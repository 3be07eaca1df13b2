"""What a language model makes of its validation text: of all tokens, and of AR hits alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from recollect.language.ar_hits import MAX_TRAIN_COUNTS, is_hit
from recollect.language.counts import NgramCounts
from recollect.language.observed import observe_shard
from recollect.language.shards import Shard
from recollect.language.windows import Windows
from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.evaluate import examples_at_once, metrics, score
from recollect.training.ranks import ALONE, Ranks
from recollect.training.result import Metrics


class ValidationText:
    """Windows of a text, each a context of its own, and which of their tokens are AR hits.

    Args:
        windows: what models read, and what comes next at each of its tokens.
        counts: of the training text.
        ranks: the processes that share the windows.
        end: the token that ends documents, if there is one: it is no part of an AR hit.
    """

    def __init__(
        self,
        windows: Batch,
        counts: NgramCounts,
        ranks: Ranks = ALONE,
        end: int | None = None,
    ) -> None:
        self._windows, self._ranks = windows, ranks
        self._hits = hits_among(windows, counts, end)

    @property
    def hit_share(self) -> float:
        """How many of the tokens are AR hits."""
        return self._hits.double().mean().item()

    @torch.no_grad()
    def evaluate(self, model: LanguageModel) -> tuple[Metrics, float]:
        """What `evaluate` says of all tokens, and the mean loss on AR hits, in nats; NaN where
        there are none."""
        model.eval()
        sums = torch.zeros(8, dtype=torch.float64, device=model.head.weight.device)
        for rows in self._parts(model.head.weight):
            part, hits = self._windows[rows].to(sums.device), self._hits[rows].to(sums.device)
            sums += _sums(model(part.inputs), part, hits)
        self._ranks.add_up([sums])
        count = int(self._hits.sum())
        on_hits = sums[-1].item() / count if count else math.nan
        return metrics(sums[:-1], [self._windows]), on_hits

    def _parts(self, head: Float[Tensor, "vocab D"]) -> Iterator[slice]:
        """The windows of this process, as many at a time as the head's device should work on."""
        own = self._ranks.rows(len(self._windows))
        step = examples_at_once(self._windows.inputs.shape[1] * len(head), head.device)
        for start in range(own.start, own.stop, step):
            yield slice(start, min(start + step, own.stop))


def hits_among(windows: Batch, counts: NgramCounts, end: int | None = None) -> Bool[Tensor, "n L"]:
    """Which targets are AR hits, by the paper's bound on the training count.

    Args:
        windows: of a text.
        counts: of bigrams in the training text.
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


def _sums(
    logits: Float[Tensor, "n L vocab"], part: Batch, hits: Bool[Tensor, "n L"]
) -> Float64[Tensor, " 8"]:
    """What `score` gives, and the sum of the losses on hits."""
    on_hits = F.cross_entropy(logits[hits], part.targets[hits], reduction="sum")
    return torch.cat([score(logits, part), on_hits.double()[None]])
