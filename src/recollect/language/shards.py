"""Tokens of a text on disk, in shards of complete documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Integer

from recollect.config import digest
from recollect.errors import UserError
from recollect.language.arrays import ArrayFolder, ArrayWriter, made_once
from recollect.language.corpus import Corpus, Document
from recollect.language.progress import OnCount
from recollect.language.tokenizer import ControlInText, Tokenizer

SHARD_TOKENS = 2**22
"""Tokens at which a shard is closed; its last document may make it longer."""
READABLE = 100
"""Characters from which a suitable tokenizer makes at least two tokens."""
BATCH_CHARACTERS = 2**20
"""Characters that are tokenized at a time."""


class Shard(NamedTuple):
    """Concatenated documents and the end of each."""

    tokens: Integer[np.ndarray, " L"]
    ends: Int64[np.ndarray, " D"]


class Shards:
    """Tokens of a text; iterates over its shards.

    Args:
        made: the folder (`make_shards`).

    Attributes:
        digest: digest of text and tokenizer.
        vocab_size: number of token ids.
        tokens: number of tokens.
        documents: number of documents.
        too_short: number of documents with fewer than two tokens, which are left out.
        unknown: number of unknown tokens.
    """

    def __init__(self, made: ArrayFolder) -> None:
        self._made = made
        self.digest: str = made.about["digest"]
        self.vocab_size: int = made.about["vocab_size"]
        self.tokens: int = made.about["tokens"]
        self.documents: int = made.about["documents"]
        self.too_short: int = made.about["too_short"]
        # absent in older folders without unknown tokens
        self.unknown: int = made.about.get("unknown", 0)

    def __len__(self) -> int:
        return int(self._made.about["shards"])

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each shard."""
        return [self._made.length(f"{i:05}.tokens") for i in range(len(self))]

    @property
    def document_counts(self) -> list[int]:
        """Number of documents of each shard."""
        return [self._made.length(f"{i:05}.ends") for i in range(len(self))]

    def __getitem__(self, i: int) -> Shard:
        """A memory-mapped shard.

        Raises:
            UserError: if it is damaged.
        """
        return Shard(self._made[f"{i:05}.tokens"], self._made[f"{i:05}.ends"])

    def __iter__(self) -> Iterator[Shard]:
        return (self[i] for i in range(len(self)))


def make_shards(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    on_progress: OnCount = lambda *_: None,
    *,
    shard_tokens: int = SHARD_TOKENS,
) -> Shards:
    """Tokenize a text once; an interrupted run resumes after the last complete shard.

    Memory holds a shard, or the longest document.

    Args:
        corpus: the text.
        tokenizer: the tokenizer.
        folder: cache of tokens; each text and tokenizer has its own name in it.
        on_progress: called with the numbers of finished and of all documents.
        shard_tokens: number of tokens at which a shard is closed.

    Raises:
        UserError: if the text cannot be read, or has no document of two tokens.
    """
    key = digest([corpus.digest, tokenizer.digest, shard_tokens])

    def make(writer: ArrayWriter) -> None:
        names = ("next", "shards", "tokens", "documents", "too_short", "unknown")
        counts = dict.fromkeys(names, 0)
        about = {"digest": key, "vocab_size": tokenizer.vocab_size, **counts}
        writer.about = about | writer.about
        _write_shards(writer, corpus, tokenizer, shard_tokens, on_progress)

    made = Shards(made_once(folder / f"tokens-{key}", make))
    if made.documents == 0 or made.unknown == made.tokens:
        raise _nothing_read(corpus, made)
    return made


def _nothing_read(corpus: Corpus, made: Shards) -> UserError:
    """Error for a text without tokens to predict; it names the cause, text or tokenizer."""
    if next(corpus.documents(), None) is None:
        return UserError(
            f"{corpus.name} has no document: each goes to train, valid or test by a hash of its"
            " content; expected a text of more documents"
        )
    characters = sum(len(document.text.strip()) for document in corpus.documents())
    if characters < READABLE:
        return UserError(f"{corpus.name} has no document of at least two tokens")
    found = "only unknown tokens" if made.documents else "no two tokens in any document"
    return UserError(
        f"the tokenizer makes {found} of {corpus.name}, which has {characters:,} characters:"
        " expected a tokenizer that knows this kind of text"
    )


def _write_shards(
    writer: ArrayWriter,
    corpus: Corpus,
    tokenizer: Tokenizer,
    shard_tokens: int,
    on_progress: OnCount,
) -> None:
    """Write the shards from the next unwritten document on."""
    about = writer.about
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    pending: list[Integer[np.ndarray, " L"]] = []
    size = 0
    for document, tokens in _tokenized(corpus, tokenizer, about["next"]):
        about["next"] = document.number + 1
        if len(tokens) < 2:
            about["too_short"] += 1
        else:
            pending.append(np.array(tokens, dtype))
            size += len(tokens)
            about["tokens"] += len(tokens)
            about["documents"] += 1
            if tokenizer.unknown is not None:
                about["unknown"] += tokens.count(tokenizer.unknown)
        if size >= shard_tokens:
            _write_shard(writer, pending)
            size = 0
        on_progress(about["next"], corpus.numbers)
    if pending:
        _write_shard(writer, pending)
    writer.commit()


def _write_shard(writer: ArrayWriter, documents: list[Integer[np.ndarray, " L"]]) -> None:
    """Write the documents as a shard, record this, and clear the list."""
    name = f"{writer.about['shards']:05}"
    writer.write(f"{name}.tokens", np.concatenate(documents))
    writer.write(f"{name}.ends", np.cumsum([len(each) for each in documents], dtype=np.int64))
    writer.about["shards"] += 1
    writer.commit()
    documents.clear()


def _tokenized(
    corpus: Corpus, tokenizer: Tokenizer, first: int
) -> Iterator[tuple[Document, list[int]]]:
    """Documents from number `first` on with their tokens, tokenized in batches."""
    batch: list[Document] = []
    size = 0
    for document in corpus.documents():
        if document.number >= first:
            batch.append(document)
            size += len(document.text)
        if size >= BATCH_CHARACTERS:
            yield from _encoded(batch, tokenizer)
            batch, size = [], 0
    yield from _encoded(batch, tokenizer)


def _encoded(
    documents: list[Document], tokenizer: Tokenizer
) -> Iterator[tuple[Document, list[int]]]:
    try:
        tokens = tokenizer.encode([document.text for document in documents])
    except ControlInText as error:
        number = documents[error.place].number
        raise UserError(f"document {number} (from 0) of the text: {error}") from error
    return zip(documents, tokens, strict=True)
