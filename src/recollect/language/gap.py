"""The gap between language models, and the share of it that lies on AR hits.

With phi the perplexity on a set of tokens, and d the difference between a model and the reference
model (attention in Zoology, arXiv 2312.04927):

    share of the gap = (d log phi(hits) |hits|) / (d log phi(all) |all|)

Everything follows from the number of tokens and the summed losses of each document and set of
tokens; intervals are those of ratios of such sums (`analysis.ratio`). Models of one name are seeds
of one model; they are compared with the first model seed by seed, in order. Dimensions: S sets of
tokens, first all of them, then the hits for each of the bounds; M models; R seeds of one of them; D
documents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from recollect.analysis.ratio import Array, Ratio, ratio, share_interval
from recollect.language.document_sums import DocumentSums, Tokens


def difference(sums: DocumentSums, weights: Mapping[str, float], tokens: Tokens) -> Ratio:
    """Weighted sum of the log perplexities of some models, such as a gap.

    Args:
        sums: sums of the text.
        weights: weights by model name. Only as many seeds are used as every model has.
        tokens: the set of tokens.
    """
    place = sums.place(tokens)
    return ratio(_weighted(sums, weights)[place], sums.tokens[place])


def excess_of_hits(sums: DocumentSums, model: str, share: float, hits: Tokens) -> Ratio:
    """Part of a model's gap to the first that lies on AR hits, minus `share` of the gap, per token
    of the text; above 0 if more than this share lies on hits."""
    excess = _weighted(sums, _gap(sums.models, model))
    return ratio(excess[sums.place(hits)] - share * excess[0], sums.tokens[0])


def gap_share(sums: DocumentSums, model: str, hits: Tokens) -> tuple[float, float, float]:
    """Unclipped share of a model's gap to the first that lies on AR hits, with its 95 % interval;
    NaN unless the gap is significantly above 0."""
    excess = _weighted(sums, _gap(sums.models, model))
    return _share(excess[sums.place(hits)], excess[0], sums.tokens[0])


def closed_share(
    sums: DocumentSums, model: str, of: str, tokens: Tokens
) -> tuple[float, float, float]:
    """Share of one model's gap to the first that another model closes, with its 95 % interval; NaN
    unless that gap is significantly above 0.

    Args:
        sums: sums of the text.
        model: the model that closes the gap.
        of: the model with the gap.
        tokens: the set of tokens.
    """
    first, place = sums.models[0], sums.place(tokens)
    part, whole = (
        _weighted(sums, weights)[place]
        for weights in ({of: 1.0, model: -1.0, first: 0.0}, {of: 1.0, first: -1.0, model: 0.0})
    )
    return _share(part, whole, sums.tokens[place])


def _share(part: Array, whole: Array, tokens: Array) -> tuple[float, float, float]:
    low, high = share_interval(part, whole, tokens)
    if not ratio(whole, tokens).interval()[0] > 0 or np.isnan(low):
        return (math.nan,) * 3
    return float(part.sum() / whole.sum()), float(low), float(high)


def gap_frame(sums: DocumentSums) -> pd.DataFrame:
    """Table with one row for each bound on the training count and each model.

    Columns: `model`, `max_train_count` (missing: no bound), `documents`, `seeds`, `tokens`; then
    the following, each with the ends of its 95 % interval over documents and seeds (`_low`,
    `_high`). Undefined values are NaN; intervals are undefined for fewer than four effective
    documents (`analysis.ratio.FEWEST`).

    - `hit_share`: share of the tokens that are AR hits.
    - `log_perplexity`, `log_perplexity_hits`, `log_perplexity_other`: in nats, the mean over seeds;
      and the same without log.
    - `gap`, `gap_hits`: log perplexity minus that of the first model, on all tokens and on AR hits.
    - `gap_share`: share of the gap that lies on AR hits, unclipped; undefined unless the interval
      of the gap lies above 0, so also for a model that is better than the first one, and for too
      few documents. `gap_share_clipped` and its ends are clipped to 0 to 1.

    Args:
        sums: sums of the text; the other models are compared with the first.

    Raises:
        ValueError: if a model has more seeds than the first.
    """
    _check_seeds(sums.models)
    names = list(dict.fromkeys(sums.models))
    tables = {name: _measures(sums, name) for name in names}
    rows = []
    for place, bound in enumerate(sums.max_train_counts):
        for name in names:
            row = {"model": name, "max_train_count": bound}
            row["documents"], row["seeds"] = sums.tokens.shape[-1], sums.models.count(name)
            row["tokens"] = int(sums.tokens[0].sum())
            rows.append(row | {key: float(values[place]) for key, values in tables[name].items()})
    return pd.DataFrame(rows).astype({"max_train_count": "Int64"})


def _check_seeds(models: tuple[str, ...]) -> None:
    first, count = models[0], models.count(models[0])
    for name in dict.fromkeys(models):
        seeds = models.count(name)
        if seeds > count:
            raise ValueError(
                f"{name} has {seeds} seeds, but {first}, with which it is compared seed by seed,"
                f" has {count}: give {first} as many, or leave out the others"
            )


def _measures(sums: DocumentSums, name: str) -> dict[str, Float64[np.ndarray, " bounds"]]:
    """Columns of the table for one model, with a number for each bound."""
    tokens, losses = sums.tokens, _weighted(sums, {name: 1.0})
    excess = _weighted(sums, _gap(sums.models, name))
    everything, hits = np.broadcast_to(tokens[:1], tokens[1:].shape), tokens[1:]
    logs = {
        "log_perplexity": ratio(np.broadcast_to(losses[:1], losses[1:].shape), everything),
        "log_perplexity_hits": ratio(losses[1:], hits),
        "log_perplexity_other": ratio(losses[:1] - losses[1:], everything - hits),
    }
    others = {
        "hit_share": ratio(hits[:, None], everything),
        "gap": ratio(np.broadcast_to(excess[:1], excess[1:].shape), everything),
        "gap_hits": ratio(excess[1:], hits),
    }
    table = {}
    for key, found in {**logs, **others}.items():
        ends = (found.value, *found.interval())
        for end, values in zip(("", "_low", "_high"), ends, strict=True):
            table[f"{key}{end}"] = values
            if key in logs:
                table[f"{key.removeprefix('log_')}{end}"] = np.exp(values)
    return table | _shares(excess, tokens, table["gap_low"])


def _shares(
    excess: Float64[np.ndarray, "S R D"],
    tokens: Int64[np.ndarray, "S D"],
    gap_low: Float64[np.ndarray, " bounds"],
) -> dict[str, Float64[np.ndarray, " bounds"]]:
    """Shares of a gap and the ends of their intervals."""
    whole = np.broadcast_to(excess[:1], excess[1:].shape)
    sums = excess.sum((-1, -2))
    ends = share_interval(excess[1:], whole, tokens[0])
    is_there = (gap_low > 0) & ~np.isnan(ends[0])
    share = sums[1:] / np.where(is_there, sums[0], np.nan)
    table = {"gap_share": share}
    for end, values in zip(("low", "high"), ends, strict=True):
        table[f"gap_share_{end}"] = np.where(np.isnan(share), np.nan, values)
    clipped = {
        key.replace("share", "share_clipped"): values.clip(0, 1) for key, values in table.items()
    }
    return table | clipped


def _gap(models: Sequence[str], model: str) -> dict[str, float]:
    """Weights of a model's gap to the first; the gap of the first model is 0."""
    return {model: 1.0, models[0]: -1.0 if model != models[0] else 0.0}


def _weighted(sums: DocumentSums, weights: Mapping[str, float]) -> Float64[np.ndarray, "S R D"]:
    """Weighted sum of the losses of some models, for each seed that all of them have."""
    places = {name: [i for i, each in enumerate(sums.models) if each == name] for name in weights}
    seeds = min(map(len, places.values()))
    found = [weight * sums.losses[places[name][:seeds]] for name, weight in weights.items()]
    return np.swapaxes(sum(found), 0, 1)
