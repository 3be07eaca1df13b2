"""Tokenizers: trained on a text, or given; and what tells them apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from recollect.config import digest
from recollect.errors import UserError
from recollect.files import replacing
from recollect.language.corpus import Corpus
from recollect.language.extras import optional
from recollect.language.hub import local_folder
from recollect.language.kept import keep

TOKENIZER_FILE = "tokenizer.json"
BYTES = 256
"""The smallest vocabulary: every byte is a token."""
IDENTITY = ("model", "normalizer", "pre_tokenizer", "added_tokens")
"""What the tokens of a text depend on; no special tokens, padding or truncation are used here."""


class Cut(NamedTuple):
    """A text as a model reads it.

    Attributes:
        tokens: their ids.
        spans: for each of them its first character, and the one after its last; equal where it is
            no part of the text.
    """

    tokens: list[int]
    spans: list[tuple[int, int]]

    def at(self, first: int, last: int) -> list[int]:
        """The places of the tokens that have a part in the characters `first` to `last` - 1."""
        return [i for i, (begin, end) in enumerate(self.spans) if begin < last and end > first]


class Tokenizer:
    """Text to token ids and back.

    Args:
        backend: a `tokenizers.Tokenizer`.
    """

    def __init__(self, backend: Any) -> None:
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend

    @cached_property
    def digest(self) -> str:
        """Its identity: another way to cut text, another digest."""
        told = json.loads(self.backend.to_str())
        return digest({name: told[name] for name in IDENTITY})

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest token id."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, without special tokens at its ends."""
        encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def cut(self, texts: Sequence[str]) -> list[Cut]:
        """Each text as its model was taught to read one, with special tokens at its ends if it was;
        and where the tokens stand in it."""
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=True)
        return [Cut(encoding.ids, encoding.offsets) for encoding in encodings]

    def spellings(self) -> list[str]:
        """What each token spells alone; in no order."""
        tokens = self.backend.get_vocab(with_added_tokens=False).values()
        return self.backend.decode_batch([[token] for token in tokens])

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that tokens spell."""
        return self.backend.decode(list(tokens), skip_special_tokens=False)

    def save(self, path: Path) -> None:
        """Write it as a file that `load_tokenizer` and `tokenizers` read."""
        path.write_text(self.backend.to_str(pretty=True), encoding="utf-8")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE (Sennrich et al., 2016; on bytes as in GPT-2), learnt from texts.

    Args:
        texts: each is read once.
        vocab_size: number of token ids; fewer if the texts have not enough to merge.

    Raises:
        UserError: if the vocabulary cannot hold all bytes.
    """
    if vocab_size < BYTES:
        raise UserError(f"vocab_size={vocab_size}: expected at least {BYTES}, one for each byte")
    tokenizers = optional("tokenizers")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(backend)


def kept_tokenizer(corpus: Corpus, vocab_size: int, folder: Path) -> Tokenizer:
    """A tokenizer learnt from a text (`train_tokenizer`), made once; by one process, while others
    wait for it.

    Args:
        corpus: the text.
        vocab_size: number of token ids.
        folder: where tokenizers are kept.

    Raises:
        UserError: where it cannot be written, or the vocabulary cannot hold all bytes.
    """
    path = folder / f"tokenizer-{digest([corpus.digest, vocab_size])}.json"

    def make() -> None:
        made = train_tokenizer((each.text for each in corpus.documents()), vocab_size)
        with replacing(path) as temporary:
            made.save(temporary)

    keep(path, make)
    return load_tokenizer(str(path))


def load_tokenizer(name: str) -> Tokenizer:
    """A tokenizer that is there.

    Args:
        name: a file such as tokenizer.json, a folder of ours or of `transformers`, or a name on
            the hub.

    Raises:
        UserError: if there is none.
    """
    path = Path(name)
    if not path.is_file():
        folder = local_folder(name)
        path = folder / TOKENIZER_FILE
        if not path.is_file():
            return _converted(folder)
    tokenizers = optional("tokenizers")
    try:
        return Tokenizer(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as error:  # the package raises nothing more special
        raise UserError(f"{path} is damaged or no tokenizer: {error}") from error


def _converted(folder: Path) -> Tokenizer:
    """One that `transformers` has kept in an older form."""
    transformers = optional("transformers")
    try:
        loaded = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no tokenizer: {' '.join(str(error).split())}") from error
    if not hasattr(loaded, "backend_tokenizer"):
        raise UserError(
            f"the tokenizer of {folder} is not one of the package tokenizers: expected a"
            f" {TOKENIZER_FILE}, or what transformers can turn into one"
        )
    return Tokenizer(loaded.backend_tokenizer)
