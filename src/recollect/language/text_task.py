"""A text as a task: what comes next, at every place.

A part of the text is one row of tokens, its documents one after the other with nothing between. An
example is a window of it, and every window is as likely as any other. Letters: n windows, L tokens
that a model reads of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from recollect.errors import UserError
from recollect.language.corpus import Corpus, missing_parts
from recollect.language.kept import kept_folder
from recollect.language.shards import Shards, make_shards
from recollect.language.sources import STDLIB, open_corpus
from recollect.language.tokenizer import Tokenizer, kept_tokenizer, load_tokenizer
from recollect.tasks.batch import Batch
from recollect.tasks.task import Role, Split, Task, register_task

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how far it is, and how far it goes."""


class TextData:
    """A text, the tokenizer that cuts it, and the tokens of its parts.

    Args:
        text: its name (`sources.open_corpus`).
        tokenizer: the name of one, or the size of one that is learnt from the text's train part.
        folder: where tokens, and a tokenizer that was learnt, are kept.

    Raises:
        UserError: if there is no such text or tokenizer, or a part of the text has no document.
    """

    def __init__(self, text: str, tokenizer: str | int, folder: Path) -> None:
        self.corpus = open_corpus(text)
        _check_parts(self.corpus)
        self.folder = folder
        self.tokenizer: Tokenizer = (
            kept_tokenizer(self.corpus.part("train"), tokenizer, folder)
            if isinstance(tokenizer, int)
            else load_tokenizer(tokenizer)
        )
        self._shards: dict[Split, Shards] = {}

    def shards(self, part: Split, on_progress: OnProgress | None = None) -> Shards:
        """The tokens of a part, made once.

        Raises:
            UserError: if the part has no document.
        """
        if part not in self._shards:
            corpus = self.corpus.part(part)

            def report(done: int, total: int) -> None:
                if on_progress is not None:
                    on_progress(f"tokens of {corpus.name}", done, total)

            self._shards[part] = make_shards(corpus, self.tokenizer, self.folder, report)
        return self._shards[part]


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

    Raises:
        UserError: if there is no such text or tokenizer, or a part of the text has no document.
    """

    text: str = Field(examples=[STDLIB])
    tokenizer: int | str = 4096
    seq_len: int = Field(default=512, gt=0)
    _part: Split = PrivateAttr(default="train")

    @model_validator(mode="after")
    def _is_there(self) -> Text:
        open_text(self.text, self.tokenizer, kept_folder())
        return self

    @property
    def data(self) -> TextData:
        """What the names stand for."""
        return open_text(self.text, self.tokenizer, kept_folder())

    @property
    def label(self) -> str:
        """`text-python-stdlib-512-v4096`: the text, `seq_len` and the number of token ids."""
        return f"text-{Path(self.text).name}-{self.seq_len}-v{self.vocab_size}"

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
        """With the digests of text and tokenizer."""
        digests = {
            "text_digest": self.data.corpus.digest,
            "tokenizer_digest": self.data.tokenizer.digest,
        }
        return super().identity | digests

    def split(self, name: Split) -> Text:
        """The same task on another part of the text."""
        other = self.model_copy()
        other._part = name
        return other

    def sample(self, n: int, seed: int) -> Batch:
        """`n` windows, drawn with repetition; the same seed gives the same bytes.

        Raises:
            UserError: if the part has no window of this length.
        """
        shards = self.data.shards(self._part)
        windows = draw_windows(shards, n, self.seq_len + 1, torch.Generator().manual_seed(seed))
        if windows is None:
            raise UserError(
                f"{self.text}@{self._part} has no {self.seq_len + 1} tokens in a row: take a"
                f" smaller seq_len than {self.seq_len}, or a longer text"
            )
        return Batch(windows[:, :-1], None, windows[:, 1:])

    def roles(self, batch: Batch) -> Int64[Tensor, "n L"]:
        """Every token is one of the text."""
        return torch.full_like(batch.inputs, Role.TEXT.index)

    def spell(self, token: int) -> str:
        """What it stands for, with blanks and line ends as Python writes them."""
        return repr(self.data.tokenizer.decode([token]))[1:-1]


def draw_windows(
    shards: Shards, n: int, length: int, generator: torch.Generator
) -> Int64[Tensor, "{n} {length}"] | None:
    """Tokens in a row, wherever they begin in a shard; None where no shard has so many."""
    begins = (np.array(shards.lengths) - length + 1).clip(min=0)  # possible beginnings
    ends = begins.cumsum()
    if ends[-1] == 0:
        return None
    drawn = torch.randint(int(ends[-1]), (n,), generator=generator).numpy()
    which = np.searchsorted(ends, drawn, side="right")
    windows = np.empty((n, length), np.int64)
    for shard in np.unique(which):
        rows = np.flatnonzero(which == shard)
        first = drawn[rows] - (ends[shard] - begins[shard])
        windows[rows] = shards[int(shard)].tokens[first[:, None] + np.arange(length)]
    return torch.from_numpy(windows)
