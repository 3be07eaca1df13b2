"""A text as a task: what comes next, at every place.

A part of the text is one row of tokens (`stream`), in which each document is followed by the
end-of-text token. An example is a window of it, and every window is as likely as any other.
Dimensions: n windows, L tokens that a model reads of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
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
from recollect.language.shards import Shards, make_shards
from recollect.language.sources import STDLIB, files_state, open_corpus
from recollect.language.stream import draw_windows
from recollect.language.tokenizer import Tokenizer, kept_tokenizer, load_tokenizer
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.tasks.task import Role, Split, Task, register_task

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how far it is, and how far it goes."""


class TextData:
    """A text, the tokenizer that cuts it, and the tokens of its parts.

    Args:
        text: its name (`sources.open_corpus`).
        tokenizer: the name of one, or the size of one that is learnt from the text's train part.
        end_of_text: whether a token ends each document.
        folder: where tokens, and a tokenizer that was learnt, are kept.

    Attributes:
        end: the token that ends each document; None: nothing stands between documents.

    Raises:
        UserError: if there is no such text or tokenizer, a part of the text has no document, or the
            tokenizer has no token to end one.
    """

    def __init__(self, text: str, tokenizer: str | int, end_of_text: bool, folder: Path) -> None:
        self._text, self._state = text, files_state(text)
        self.corpus = open_corpus(text)
        _check_parts(self.corpus)
        self.folder = folder
        self.tokenizer: Tokenizer = (
            kept_tokenizer(self.corpus.part("train"), tokenizer, folder, end_of_text=end_of_text)
            if isinstance(tokenizer, int)
            else load_tokenizer(tokenizer)
        )
        self.end = self.tokenizer.end_of_text if end_of_text else None
        if end_of_text and self.end is None:
            raise UserError(
                f"the tokenizer {tokenizer} has no end-of-text token (eos_token in its"
                " tokenizer_config.json) to put between documents: take another tokenizer, or"
                " join documents with nothing between by end_of_text=False"
            )
        self._shards: dict[Split, Shards] = {}
        self._bigrams: NgramCounts | None = None

    def check_unchanged(self) -> None:
        """See that the text is the one that was opened.

        Raises:
            UserError: if its files have another content.
        """
        state = files_state(self._text)
        if state == self._state:
            return
        if open_corpus(self._text).digest != self.corpus.digest:
            raise UserError(
                f"the text {self._text} has changed since this process opened it, and a process"
                " reads one text of a name: start the process again"
            )
        self._state = state

    def shards(self, part: Split, on_progress: OnProgress | None = None) -> Shards:
        """The tokens of a part, made once.

        Raises:
            UserError: if the part has no document, or the text has changed.
        """
        if part not in self._shards:
            self.check_unchanged()
            corpus = self.corpus.part(part)

            def report(done: int, total: int) -> None:
                if on_progress is not None:
                    on_progress(f"tokens of {corpus.name}", done, total)

            self._shards[part] = make_shards(corpus, self.tokenizer, self.folder, report)
        return self._shards[part]

    def bigrams(self, on_progress: OnProgress | None = None) -> NgramCounts:
        """How often each bigram is in the train part, counted once.

        Raises:
            UserError: as `shards`, or where no document has two tokens.
        """
        if self._bigrams is None:

            def report(done: int, total: int) -> None:
                if on_progress is not None:
                    on_progress(f"bigrams of {self._text}", done, total)

            trained = self.shards("train", on_progress)
            self._bigrams = count_ngrams(trained, 2, self.folder, report)
        return self._bigrams


def _check_parts(corpus: Corpus) -> None:
    missing = missing_parts(corpus)
    if missing:
        raise UserError(
            f"{corpus.name} has no document for {' and '.join(missing)}: each goes to train, valid"
            " or test by a hash of its content, and a plain file is one document; expected many:"
            " JSON lines, Parquet, or a folder of many files"
        )


open_text = cache(TextData)
"""The text of these names; it is opened once in a process."""


@register_task("text")
class Text(Task):
    """Say at every token of a text which one comes next.

    Training, validation and test have documents of their own (`corpus.part_of`). What the names
    stand for, text and tokenizer, is a part of a trial's key; where tokens are kept is not
    (`kept.kept_folder`).

    Attributes:
        text: JSON lines, Parquet, a folder of many files, "python-stdlib" or `datasets:NAME`; a
            plain file is a single document, and so in a single part.
        tokenizer: the number of token ids of a byte-level BPE that is learnt from the text's
            train part, or a file such as tokenizer.json, a folder, or a name on the hub.
        seq_len: tokens that a model reads at a time.
        end_of_text: whether each document is followed by the tokenizer's end-of-text token, which
            counts among the token ids of one that is learnt; if not, documents are joined with
            nothing between.

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
        """What the names stand for."""
        return open_text(self.text, self.tokenizer, self.end_of_text, kept_folder())

    @property
    def label(self) -> str:
        """`text-python-stdlib-512-v4096-eot`: the text, `seq_len`, the number of token ids, and
        whether one of them ends documents."""
        end = "-eot" if self.end_of_text else ""
        return f"text-{Path(self.text).name}-{self.seq_len}-v{self.vocab_size}{end}"

    @property
    def vocab_size(self) -> int:
        """That of the tokenizer."""
        return self.data.tokenizer.vocab_size

    @property
    def vocabulary(self) -> str:
        """The digest of the tokenizer."""
        return self.data.tokenizer.digest

    @property
    def max_len(self) -> int:
        """`seq_len`."""
        return self.seq_len

    @property
    def chance(self) -> float:
        """Any token."""
        return 1 / self.vocab_size

    @property
    def guess_loss(self) -> float:
        """All tokens alike."""
        return math.log(self.vocab_size)

    @property
    def identity(self) -> dict[str, Any]:
        """With the digests of text and tokenizer, and the token that ends documents."""
        digests: dict[str, Any] = {
            "text_digest": self.data.corpus.digest,
            "tokenizer_digest": self.data.tokenizer.digest,
        }
        if self.data.end is not None:
            digests["end"] = self.data.end
        return super().identity | digests

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The loss on AR hits, and their share."""
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
        if self._part == "train":  # on which nothing is measured but the loss
            return batch
        return replace(batch, marks=hits_among(batch, self.data.bigrams(), self.data.end).long())

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Every token is one of the text."""
        return torch.full_like(batch.inputs, Role.TEXT.index)

    def spell(self, token: int) -> str:
        """What it stands for, with blanks and line ends as Python writes them."""
        return repr(self.data.tokenizer.decode([token]))[1:-1]
