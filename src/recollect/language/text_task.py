"""A text as a task: next-token prediction at every place.

A part of the text is one row of tokens (`stream`), in which the end-of-text token follows each
document. An example is a window of it; all windows are equally likely.
Dimensions: n windows, L tokens that a model reads of each.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Int64
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.language.corpus import Corpus, missing_parts
from recollect.language.counts import NgramCounts, count_ngrams
from recollect.language.hit_metrics import hit_metrics, hits_among
from recollect.language.kept import kept_folder
from recollect.language.progress import OnProgress
from recollect.language.shards import Shards, make_shards
from recollect.language.sources import STDLIB, files_state, open_corpus
from recollect.language.stream import draw_windows
from recollect.language.tokenizer import Tokenizer
from recollect.language.tokenizer_files import kept_tokenizer, load_tokenizer
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.tasks.task import Role, Split, Task, register_task


class TextData:
    """A text, its tokenizer, and the tokens of its parts.

    Args:
        text: name of the text (`sources.open_corpus`).
        tokenizer: name of a tokenizer, or vocabulary size of one trained on the text's train part.
        end_of_text: whether a token ends each document.
        folder: cache of tokens and trained tokenizers.

    Attributes:
        end: the token that ends each document; None: there is none.

    Raises:
        UserError: if there is no such text or tokenizer, a part of the text has no document, or the
            tokenizer has no end-of-text token.
    """

    def __init__(self, text: str, tokenizer: str | int, end_of_text: bool, folder: Path) -> None:
        self._text, self._state = text, files_state(text)
        self.corpus = open_corpus(text)
        _check_parts(self.corpus)
        self.folder = folder
        self._named = tokenizer if isinstance(tokenizer, str) else None
        self._tokenizer_state = files_state(self._named) if self._named else ()
        self.tokenizer: Tokenizer = (
            kept_tokenizer(self.corpus.part("train"), tokenizer, folder, end_of_text=end_of_text)
            if isinstance(tokenizer, int)
            else load_tokenizer(tokenizer)
        )
        self.end = self.tokenizer.end_of_text if end_of_text else None
        if end_of_text and self.end is None:
            raise UserError(
                f"the tokenizer {tokenizer} has no end-of-text token (eos_token in its"
                " tokenizer_config.json) to put between documents: use another tokenizer, or"
                " end_of_text=False to join documents without a token"
            )
        self._shards: dict[Split, Shards] = {}
        self._bigrams: NgramCounts | None = None

    @property
    def begins_with(self) -> tuple[int, ...]:
        """The tokens before a text, as in training: `end`, if there is one."""
        return () if self.end is None else (self.end,)

    def check_unchanged(self) -> None:
        """Check that the text and the tokenizer have not changed since they were opened.

        Raises:
            UserError: if the content of their files has changed.
        """
        self._check_tokenizer()
        state = files_state(self._text)
        if state == self._state:
            return
        if open_corpus(self._text).digest != self.corpus.digest:
            raise UserError(
                f"the text {self._text} has changed since this process opened it: start the"
                " process again"
            )
        self._state = state

    def _check_tokenizer(self) -> None:
        if self._named is None or files_state(self._named) == self._tokenizer_state:
            return
        now = load_tokenizer(self._named)
        if (now.digest, now.end_of_text) != (self.tokenizer.digest, self.tokenizer.end_of_text):
            raise UserError(
                f"the tokenizer {self._named} has changed since this process opened it: start the"
                " process again"
            )
        self._tokenizer_state = files_state(self._named)

    def shards(self, part: Split, on_progress: OnProgress = lambda *_: None) -> Shards:
        """Tokens of a part, made once.

        Raises:
            UserError: if the part has no document, or the text has changed.
        """
        if part not in self._shards:
            self.check_unchanged()
            corpus = self.corpus.part(part)
            report = partial(on_progress, f"tokens of {corpus.name}")
            self._shards[part] = make_shards(corpus, self.tokenizer, self.folder, report)
        return self._shards[part]

    def bigrams(self, on_progress: OnProgress = lambda *_: None) -> NgramCounts:
        """Bigram counts of the train part, made once.

        Raises:
            UserError: as in `shards`, or if no document has two tokens.
        """
        if self._bigrams is None:
            report = partial(on_progress, f"bigrams of {self._text}")
            trained = self.shards("train", on_progress)
            self._bigrams = count_ngrams(trained, 2, self.folder, report)
        return self._bigrams


def _check_parts(corpus: Corpus) -> None:
    missing = missing_parts(corpus)
    if missing:
        raise UserError(
            f"{corpus.name} has no document for {' and '.join(missing)}: each document goes to"
            " train, valid or test by a hash of its content, and a plain file is one document;"
            " expected many documents: JSON lines, Parquet, or a folder of many files"
        )


open_text = cache(TextData)
"""Cached `TextData`; each text is opened once per process."""


@register_task("text")
class Text(Task):
    """Next-token prediction on a text.

    Training, validation and test use different documents (`corpus.part_of`). The contents of text
    and tokenizer are part of a trial's key; the cache folder is not (`kept.kept_folder`).

    Attributes:
        text: JSON lines, Parquet, a folder of many files, "python-stdlib" or `datasets:NAME`. A
            plain file is not enough, because it is a single document.
        tokenizer: vocabulary size of a byte-level BPE trained on the text's train part; or a file
            such as tokenizer.json, a folder, or a name on the hub.
        seq_len: tokens that a model reads at a time.
        end_of_text: whether the tokenizer's end-of-text token follows each document. It is one of
            the token ids of a trained tokenizer.

    Raises:
        UserError: if there is no such text or tokenizer, a part of the text has no document, the
            text has changed since this process opened it, or the tokenizer has no end-of-text
            token.
    """

    unsaid = MappingProxyType({"end_of_text": False})

    text: str = Field(examples=[STDLIB])
    tokenizer: int | str = 4096
    seq_len: int = Field(default=512, gt=0)
    end_of_text: bool = True
    _part: Split = PrivateAttr(default="train")

    @model_validator(mode="after")
    def _is_there(self) -> Text:
        self.data.check_unchanged()
        return self

    @property
    def data(self) -> TextData:
        """Opened text and tokenizer."""
        return open_text(self.text, self.tokenizer, self.end_of_text, kept_folder())

    @property
    def label(self) -> str:
        """Label from text, `seq_len`, vocabulary size and end token:
        `text-python-stdlib-512-v4096-eot`."""
        end = "-eot" if self.end_of_text else ""
        return f"text-{Path(self.text).name}-{self.seq_len}-v{self.vocab_size}{end}"

    @property
    def vocab_size(self) -> int:
        """Vocabulary size of the tokenizer."""
        return self.data.tokenizer.vocab_size

    @property
    def vocabulary(self) -> str:
        """Digest of the tokenizer."""
        return self.data.tokenizer.digest

    @property
    def max_len(self) -> int:
        """`seq_len`."""
        return self.seq_len

    @property
    def chance(self) -> float:
        """Accuracy of guessing among all tokens."""
        return 1 / self.vocab_size

    @property
    def guess_loss(self) -> float:
        """Loss of a uniform prediction, in nats."""
        return math.log(self.vocab_size)

    @property
    def identity(self) -> dict[str, Any]:
        """Identity with the digests of text and tokenizer and the token that ends documents."""
        digests: dict[str, Any] = {
            "text_digest": self.data.corpus.digest,
            "tokenizer_digest": self.data.tokenizer.digest,
        }
        if self.data.end is not None:
            digests["end"] = self.data.end
        return super().identity | digests

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Loss on AR hits, and share of AR hits."""
        return hit_metrics(self.vocab_size)

    def split(self, name: Split) -> Text:
        """The same task on another part of the text."""
        other = self.model_copy()
        other._part = name
        return other

    def sample(self, n: int, seed: int) -> Batch:
        """`n` windows, drawn with repetition; the same seed gives the same bytes.

        Windows of the parts valid and test mark the targets that are AR hits.

        Raises:
            UserError: if the part has no window of this length.
        """
        shards, generator = self.data.shards(self._part), torch.Generator().manual_seed(seed)
        windows = draw_windows(shards, n, self.seq_len + 1, generator, self.data.end)
        if windows is None:
            raise UserError(
                f"seq_len={self.seq_len}: {self.text}@{self._part} has no {self.seq_len + 1} tokens"
                " in a row; choose a smaller number, or a longer text"
            )
        batch = Batch(windows[:, :-1], None, windows[:, 1:])
        if self._part == "train":  # only the loss is measured on training windows
            return batch
        return replace(batch, marks=hits_among(batch, self.data.bigrams(), self.data.end).long())

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Role of every token: text."""
        return torch.full_like(batch.inputs, Role.TEXT.index)

    def spell(self, token: int) -> str:
        """Text of a token, with escapes as in Python."""
        return repr(self.data.tokenizer.decode([token]))[1:-1]
