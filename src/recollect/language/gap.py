"""What the gap between language models is made of: how much of it lies on AR hits.

With phi the perplexity on a set of tokens, and the differences those between a model and the one it
is compared with (attention, in Zoology, arXiv 2312.04927):

    share of the gap = (d log phi(hits) |hits|) / (d log phi(all) |all|)

Everything follows from two sums for each document and set of tokens, how many there are and their
losses; intervals come from drawing documents anew. Letters: S sets of tokens, first all of them,
then the hits for each of the bounds; M models, the first of them the reference; D documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from recollect.language.ar_hits import is_hit
from recollect.language.observed import Observed


@dataclass(frozen=True)
class DocumentSums:
    """Sums over the tokens of each document.

    Attributes:
        max_train_counts: the bound of each set of hits.
        tokens: how many tokens.
        losses: of each model, in nats.
    """

    max_train_counts: tuple[int, ...]
    tokens: Int64[np.ndarray, "S D"]
    losses: Float64[np.ndarray, "M S D"]


def sum_documents(part: Observed, max_train_counts: Sequence[int]) -> DocumentSums:
    """The sums of some documents."""
    documents = int(part.document[-1]) + 1
    sets = [np.ones(len(part.document), bool)]
    sets += [is_hit(part.distance, part.train_count, bound) for bound in max_train_counts]
    tokens = [np.bincount(part.document[each], minlength=documents) for each in sets]
    losses = [
        [np.bincount(part.document[each], loss[each], documents) for each in sets]
        for loss in part.losses
    ]
    return DocumentSums(tuple(max_train_counts), np.array(tokens), np.array(losses))


def joined(sums: Sequence[DocumentSums]) -> DocumentSums:
    """The sums of all these documents."""
    return DocumentSums(
        sums[0].max_train_counts,
        np.concatenate([each.tokens for each in sums], axis=-1),
        np.concatenate([each.losses for each in sums], axis=-1),
    )


def gap_frame(
    sums: DocumentSums,
    models: Sequence[str],
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each bound on the training count and each model.

    Columns: `model`, `max_train_count`, `documents`, `tokens`; then, each with the ends of its
    interval (`_low`, `_high`) where there are several documents, NaN where it is not defined. An
    interval is not defined either if the number is not in more draws than lie beyond one of its
    ends, 2.5 % for 95 %.

    - `hit_share`: share of the tokens that are AR hits.
    - `log_perplexity`, `log_perplexity_hits`, `log_perplexity_other`: in nats; and the same without
      log.
    - `gap`, `gap_hits`: log perplexity less that of the first model, on all tokens and on AR hits.
    - `gap_share`: share of the gap that lies on AR hits, as it comes out; where there is no gap, or
      one in the first model's disfavour, it is not defined. `gap_share_clipped` is 0 to 1.

    Args:
        sums: of the text.
        models: their names; the first is what the others are compared with.
        draws: of the documents, for the intervals; there are none with a single document.
        confidence: share of the draws within an interval.
        seed: of the draws.
    """
    table = _measures(sums.tokens.sum(-1), sums.losses.sum(-1))
    documents = sums.tokens.shape[-1]
    if documents > 1:
        for name, drawn in _draw(sums, draws, seed).items():
            low, high = _interval(table[name], drawn, confidence)
            table |= {f"{name}_low": low, f"{name}_high": high}
    rows = []
    for place, bound in enumerate(sums.max_train_counts):
        for i, model in enumerate(models):
            row = {"model": model, "max_train_count": bound, "documents": documents}
            row["tokens"] = int(sums.tokens[0].sum())
            row |= {name: float(value[i, place]) for name, value in table.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def _measures(
    tokens: Int64[np.ndarray, "*draws S"], losses: Float64[np.ndarray, "*draws M S"]
) -> dict[str, Float64[np.ndarray, "*draws M bounds"]]:
    """What the table tells, from sums over documents."""
    all_tokens, hit_tokens = tokens[..., None, :1], tokens[..., None, 1:]
    all_losses, hit_losses = losses[..., :1], losses[..., 1:]
    shape = hit_losses.shape
    with np.errstate(divide="ignore", invalid="ignore"):  # sets without tokens
        logs = {
            "log_perplexity": np.broadcast_to(all_losses / all_tokens, shape),
            "log_perplexity_hits": hit_losses / hit_tokens,
            "log_perplexity_other": (all_losses - hit_losses) / (all_tokens - hit_tokens),
        }
        excess = all_losses - all_losses[..., :1, :]
        hit_excess = hit_losses - hit_losses[..., :1, :]
        gap_hits = hit_excess / hit_tokens
        share = hit_excess / np.where(excess > 0, excess, np.nan)
    return {
        "hit_share": np.broadcast_to(hit_tokens / all_tokens, shape),
        **logs,
        **{name.removeprefix("log_"): np.exp(value) for name, value in logs.items()},
        "gap": np.broadcast_to(excess / all_tokens, shape),
        "gap_hits": gap_hits,
        "gap_share": share,
        "gap_share_clipped": share.clip(0, 1),
    }


def _draw(
    sums: DocumentSums, draws: int, seed: int
) -> dict[str, Float64[np.ndarray, "draws M bounds"]]:
    """The measures with documents drawn anew, as many as there are."""
    documents = sums.tokens.shape[-1]
    rng = np.random.default_rng(seed)
    drawn: list[tuple[Any, Any]] = []
    for _ in range(draws):
        times = np.bincount(rng.integers(documents, size=documents), minlength=documents)
        drawn.append((sums.tokens @ times, sums.losses @ times))
    tokens, losses = zip(*drawn, strict=True)
    return _measures(np.stack(tokens), np.stack(losses))


def _interval(
    values: Float64[np.ndarray, "M bounds"],
    drawn: Float64[np.ndarray, "draws M bounds"],
    confidence: float,
) -> tuple[Float64[np.ndarray, "M bounds"], Float64[np.ndarray, "M bounds"]]:
    """The ends of the intervals: quantiles of the draws in which a value is defined, as long as the
    others are too few to matter."""
    missing = np.isnan(values) | (np.isnan(drawn).mean(axis=0) > (1 - confidence) / 2)
    table = pd.DataFrame(drawn.reshape(len(drawn), -1))
    low, high = (
        np.where(missing, np.nan, table.quantile(share).to_numpy().reshape(values.shape))
        for share in ((1 - confidence) / 2, (1 + confidence) / 2)
    )
    return low, high
