"""Language models set against each other on a text: from names to the tables of the gap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recollect.errors import UserError
from recollect.language.ar_hits import MAX_TRAIN_COUNTS
from recollect.language.corpus import Corpus, overlap
from recollect.language.counts import count_ngrams
from recollect.language.gap import gap_frame, joined, sum_documents
from recollect.language.losses import measure_losses
from recollect.language.ngrams import check_ngrams
from recollect.language.observed import Observed, observe
from recollect.language.pretrained import Pretrained, open_pretrained
from recollect.language.shards import make_shards
from recollect.language.slices import slice_frame, sum_slices
from recollect.language.sources import open_corpus
from recollect.language.tokenizer import Tokenizer
from recollect.language.windows import Windows
from recollect.training.device import resolve_device

LONGEST_CONTEXT = 2048
"""Tokens that models read at a time, if all of them can and nothing else is asked."""

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how far it is, and how far it goes."""


@dataclass(frozen=True)
class Comparison:
    """What came out.

    Attributes:
        gap: a row for each bound on the training count and each model (`gap.gap_frame`).
        slices: by training count, distance and position (`slices.slice_frame`).
        settings: what was compared, and how.
    """

    gap: pd.DataFrame
    slices: pd.DataFrame
    settings: dict[str, Any]


def compare(
    models: Sequence[str],
    *,
    text: str,
    train_text: str,
    folder: Path,
    n: int = 2,
    max_train_counts: Sequence[int] = MAX_TRAIN_COUNTS,
    context: int | None = None,
    stride: int | None = None,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    on_text: Callable[[Corpus], None] = lambda _: None,
) -> Comparison:
    """Perplexity on AR hits and on all other tokens, and what the gap between models is made of.

    Args:
        models: folders, or names on the hub (`pretrained.open_pretrained`); the first is the one
            with which the others are compared.
        text: what they read (`sources.open_corpus`).
        train_text: where n-grams are counted.
        folder: keeps tokens, counts and losses: the same question is answered at once the next
            time, and another one about the same losses without a model.
        n: length of the n-grams.
        max_train_counts: bounds for AR hits; slices are those of the first.
        context: most tokens of the text that a model reads at a time, the template's not
            counted; if not given 2,048, or what all can read.
        stride: tokens from a window to the next; `context` if not given.
        device: "cpu", "cuda" or "auto".
        on_progress: called now and then.
        on_text: called with each of the two texts once it is opened.

    Raises:
        UserError: if models have different tokenizers, or something cannot be read or loaded.
    """
    place = resolve_device(device)
    report = on_progress or (lambda *_: None)
    names = _short_names(models)
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
        make_shards(each, tokenizer, folder, partial(report, f"tokens of {each.name}"))
        for each in corpora
    )
    counts = count_ngrams(trained, n, folder, partial(report, f"{n}-grams of {train_text}"))
    losses = [
        measure_losses(
            model,
            read,
            windows,
            folder,
            device=place,
            on_progress=partial(report, f"losses of {model.name}"),
        )
        for model in opened
    ]
    settings = {
        "text": text,
        "train_text": train_text,
        "text_in_train_text": overlap(*corpora),
        "n": n,
        **windows.model_dump(),
        "vocab_size": tokenizer.vocab_size,
        "train_tokens": trained.tokens,
        "documents_too_short": read.too_short,
        **_not_read(*corpora),
        "unknown_tokens": read.unknown,
        **_around(names, opened),
    }
    return Comparison(
        *_tables(observe(read, windows, counts, losses), names, max_train_counts), settings
    )


def _not_read(train_text: Corpus, text: Corpus) -> dict[str, int]:
    """What of both texts was not read."""
    return {
        f"{which}{what}": count
        for which, corpus in (("train_", train_text), ("", text))
        for what, count in corpus.reading.not_read.items()
    }


def _around(names: Sequence[str], models: Sequence[Pretrained]) -> dict[str, dict[str, str]]:
    """The control tokens that each model reads in front of a text, and leaves out behind it."""
    return {
        "begins_with": {name: each.begins_with for name, each in zip(names, models, strict=True)},
        "leaves_out": {name: each.leaves_out for name, each in zip(names, models, strict=True)},
    }


def _tables(
    parts: Iterable[Observed], models: Sequence[str], max_train_counts: Sequence[int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The gap and the slices, from one look at the tokens."""
    sums = [
        (sum_documents(part, max_train_counts), sum_slices(part, max_train_counts[0]))
        for part in parts
    ]
    of_documents, of_slices = zip(*sums, strict=True)
    return (
        gap_frame(joined(of_documents), models),
        slice_frame(np.sum(of_slices, axis=0), models, max_train_counts[0]),
    )


def _short_names(models: Sequence[str]) -> list[str]:
    """The last part of each name, where that tells them apart."""
    twice = [name for i, name in enumerate(models) if name in models[:i]]
    if twice:
        raise UserError(f"the model {twice[0]} is given twice: name each one once")
    short = [Path(name).resolve().name for name in models]
    return short if len(set(short)) == len(short) else list(models)


def _shared_tokenizer(models: Sequence[Pretrained]) -> Tokenizer:
    """That of all models: perplexities on other tokens are not comparable."""
    first, *others = models
    for other in others:
        if other.tokenizer.digest != first.tokenizer.digest:
            raise UserError(
                f"{first.name} and {other.name} have different tokenizers: perplexities are"
                " compared only on the same tokens"
            )
    return first.tokenizer


def _windows(models: Sequence[Pretrained], context: int | None, stride: int | None) -> Windows:
    """The cut that all models can read."""
    limits = [(model.longest_text, model) for model in models if model.longest_text is not None]
    if context is None:
        context = min([LONGEST_CONTEXT, *(limit for limit, _ in limits)])
    for limit, model in limits:
        if context > limit:
            raise UserError(f"context={context}: the model {model.name} reads {model.most}")
    return Windows(context=context, stride=stride or context)
