"""Comparison of language models on a text: perplexity gaps, and their part on AR hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recollect.errors import UserError
from recollect.language.ar_hits import (
    CURVE_BOUNDS,
    MAX_TRAIN_COUNTS,
    PAPER_HIT_SHARE,
    Bound,
    nearest_bound,
)
from recollect.language.corpus import Corpus
from recollect.language.counts import count_ngrams
from recollect.language.document_sums import DocumentSums, joined, sum_documents
from recollect.language.gap import gap_frame
from recollect.language.losses import measure_losses
from recollect.language.ngrams import check_ngrams
from recollect.language.observed import Observed, observe
from recollect.language.pretrained import Pretrained, open_pretrained
from recollect.language.progress import OnProgress
from recollect.language.shards import make_shards
from recollect.language.shared import shared_documents
from recollect.language.slices import slice_frame, sum_slices
from recollect.language.sources import open_corpus
from recollect.language.tokenizer import Tokenizer
from recollect.language.windows import Windows
from recollect.training.device import resolve_device

LONGEST_CONTEXT = 2048
"""Default context in tokens, if all models can read it."""


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        sums: sums per document, from which the gap and its intervals follow.
        bounds: the requested bounds on the training count.
        slices: perplexities by training count, distance and position (`slices.slice_frame`).
        settings: the settings of the comparison.
    """

    sums: DocumentSums
    bounds: tuple[Bound, ...]
    slices: pd.DataFrame
    settings: dict[str, Any]

    @property
    def gap(self) -> pd.DataFrame:
        """One row for each requested bound and model (`gap.gap_frame`)."""
        return self._of(self.bounds)

    @property
    def curve(self) -> pd.DataFrame:
        """One row for each of `CURVE_BOUNDS` and each model."""
        return self._of(CURVE_BOUNDS)

    @cached_property
    def _all(self) -> pd.DataFrame:
        return gap_frame(self.sums)

    def _of(self, bounds: Sequence[Bound]) -> pd.DataFrame:
        count = len(set(self.sums.models))
        first = [(self.sums.place(bound) - 1) * count for bound in bounds]
        rows = [place + i for place in first for i in range(count)]
        return self._all.iloc[rows].reset_index(drop=True)


def compare(
    models: Sequence[str],
    *,
    text: str,
    train_text: str,
    folder: Path,
    names: Sequence[str] | None = None,
    n: int = 2,
    max_train_counts: Sequence[int] | None = MAX_TRAIN_COUNTS,
    context: int | None = None,
    stride: int | None = None,
    device: str = "auto",
    on_progress: OnProgress = lambda *_: None,
    on_text: Callable[[Corpus], None] = lambda _: None,
) -> Comparison:
    """Compare the perplexity of models on AR hits and on other tokens.

    Args:
        models: folders, or names on the hub (`pretrained.open_pretrained`); the others are compared
            with the first.
        text: the text that they read (`sources.open_corpus`).
        train_text: the text in which n-grams are counted.
        folder: cache of tokens, counts and losses, which later comparisons reuse.
        names: names of the models; equal names mark seeds of one model. None: their folders' names.
        n: length of the n-grams.
        max_train_counts: bounds for AR hits; slices use the first. None: the bound whose share of
            hits is nearest to the paper's.
        context: most tokens of text that a model reads at a time, without template tokens; None:
            2,048, or fewer if a model requires it.
        stride: tokens from one window to the next; None: `context`.
        device: "cpu", "cuda" or "auto".
        on_progress: called repeatedly.
        on_text: called with each of the two texts when it is opened.

    Raises:
        UserError: if models have different tokenizers, or something cannot be read or loaded.
    """
    place = resolve_device(device)
    called = _short_names(models) if names is None else list(names)
    opened = [open_pretrained(name) for name in models]
    for model in opened:
        model.check_weights()
    tokenizer = _shared_tokenizer(opened)
    check_ngrams(n, tokenizer.vocab_size)
    windows = _windows(opened, context, stride)
    corpora = open_corpus(train_text), open_corpus(text)
    for corpus in corpora:
        on_text(corpus)
    trained, read = (
        make_shards(each, tokenizer, folder, partial(on_progress, f"tokens of {each.name}"))
        for each in corpora
    )
    counts = count_ngrams(trained, n, folder, partial(on_progress, f"{n}-grams of {train_text}"))
    losses = [
        measure_losses(
            model,
            read,
            windows,
            folder,
            device=place,
            on_progress=partial(on_progress, f"losses of {model.name}"),
        )
        for model in opened
    ]
    within = f"documents of {text} in {train_text}"
    shared = shared_documents(corpora[1], corpora[0], folder, partial(on_progress, within))
    settings = {
        "text": text,
        "train_text": train_text,
        "text_in_train_text": shared > 0,
        "documents_in_train_text": shared,
        "n": n,
        **windows.model_dump(),
        "vocab_size": tokenizer.vocab_size,
        "train_tokens": trained.tokens,
        "documents_too_short": read.too_short,
        **_not_read(*corpora),
        "unknown_tokens": read.unknown,
        **_around(called, opened),
    }

    def parts() -> Iterator[Observed]:
        return observe(read, windows, counts, losses)

    others = (bound for bound in max_train_counts or () if bound not in CURVE_BOUNDS)
    bounds = (*CURVE_BOUNDS, *others)
    sums = joined([sum_documents(part, called, bounds) for part in parts()])
    asked = max_train_counts or (nearest_bound(sums.hit_shares, PAPER_HIT_SHARE),)
    slices = np.sum([sum_slices(part, asked[0]) for part in parts()], axis=0)
    frame = slice_frame(slices, called, asked[0])
    return Comparison(sums, tuple(asked), frame, settings)


def _not_read(train_text: Corpus, text: Corpus) -> dict[str, int]:
    """Numbers of unread files and rows of both texts."""
    return {
        f"{which}{what}": count
        for which, corpus in (("train_", train_text), ("", text))
        for what, count in corpus.reading.not_read.items()
    }


def _around(names: Sequence[str], models: Sequence[Pretrained]) -> dict[str, dict[str, str]]:
    """Control tokens that each model reads before a text, and those that are left out after it."""
    return {
        "begins_with": {name: each.begins_with for name, each in zip(names, models, strict=True)},
        "leaves_out": {name: each.leaves_out for name, each in zip(names, models, strict=True)},
    }


def _short_names(models: Sequence[str]) -> list[str]:
    """The last part of each name, if these are distinct, else the whole names."""
    twice = [name for i, name in enumerate(models) if name in models[:i]]
    if twice:
        raise UserError(f"the model {twice[0]} is given twice: name each one once")
    short = [Path(name).resolve().name for name in models]
    return short if len(set(short)) == len(short) else list(models)


def _shared_tokenizer(models: Sequence[Pretrained]) -> Tokenizer:
    """The tokenizer that all models share; perplexities on different tokens are not comparable."""
    first, *others = models
    for other in others:
        if other.tokenizer.digest != first.tokenizer.digest:
            raise UserError(
                f"{first.name} and {other.name} have different tokenizers: perplexities are"
                " compared only on the same tokens"
            )
    return first.tokenizer


def _windows(models: Sequence[Pretrained], context: int | None, stride: int | None) -> Windows:
    """Windows that all models can read."""
    limits = [(model.longest_text, model) for model in models if model.longest_text is not None]
    if context is None:
        context = min([LONGEST_CONTEXT, *(limit for limit, _ in limits)])
    for limit, model in limits:
        if context > limit:
            raise UserError(f"context={context}: the model {model.name} reads {model.most}")
    return Windows(context=context, stride=context if stride is None else stride)
