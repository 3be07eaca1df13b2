"""Tokenizers, trained on a text or loaded, and their digests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from recollect.config import digest
from recollect.errors import UserError
from recollect.language.control import (
    Named,
    Template,
    control_tokens,
    end_of_text,
    mark_control,
    template_of,
)

TOKENIZER_FILE = "tokenizer.json"
BYTES = 256
"""The smallest vocabulary: every byte is a token."""
IDENTITY = ("model", "normalizer", "pre_tokenizer", "added_tokens")
"""Components that determine the tokens of a text; templates, padding and truncation are not
used."""
ORDINARY = (
    "The quick brown fox jumps over the lazy dog, 0123456789.",
    "быстрая лиса",
    "天地玄黄 いろはにほへと 가나다라",
    "السلام عليكم שלום नमस्ते",
)
"""Texts in several scripts. A usable tokenizer can read one of them or its own words."""
SOME_WORDS = 1000
"""Number of the tokenizer's own words that are tried."""


class Cut(NamedTuple):
    """A tokenized text.

    Attributes:
        tokens: token ids.
        spans: first character of each token and the one after its last; equal for tokens that are
            not part of the text.
    """

    tokens: list[int]
    spans: list[tuple[int, int]]

    def at(self, first: int, last: int) -> list[int]:
        """Places of the tokens that overlap the characters `first` to `last` - 1."""
        return [i for i, (begin, end) in enumerate(self.spans) if begin < last and end > first]


class ControlInText(UserError):
    """A text contains the spelling of a control token that its tokenizer cannot read as text.

    Args:
        token: the spelling.
        place: index of the text among the given ones.
    """

    def __init__(self, token: str, place: int) -> None:
        super().__init__(
            f"the text contains {token!r}, which the tokenizer can only read as a control token:"
            " remove it from the text"
        )
        self.place = place


class Tokenizer:
    """Converts text to token ids and back.

    Spellings of control tokens in a text, such as `</s>`, are split into ordinary tokens.

    Args:
        backend: a `tokenizers.Tokenizer`.
        named: control tokens named in the files beside it.
    """

    def __init__(self, backend: Any, named: Named | None = None) -> None:
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True
        if getattr(backend.model, "dropout", None):  # BPE dropout gives different tokens each time
            backend.model.dropout = None
        self.backend = backend
        self.named = named or Named()
        mark_control(backend, self.named)

    @cached_property
    def _spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads(self.backend.to_str())
        return spec

    @cached_property
    def digest(self) -> str:
        """Digest of everything that determines the tokens of a text."""
        parts = {name: self._spec[name] for name in IDENTITY}
        if control_tokens(self.backend) or self.unknown is not None:
            parts["control_tokens"] = "are text"
        return digest(parts)

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest token id."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1)

    @cached_property
    def unknown(self) -> int | None:
        """Unknown token; None if there is none."""
        model = self._spec["model"]
        if model.get("unk_id") is not None:
            return int(model["unk_id"])
        name = model.get("unk_token")
        found: int | None = None if name is None else self.backend.token_to_id(name)
        return found

    @cached_property
    def template(self) -> Template:
        """Tokens that it adds to a text for its model.

        Raises:
            UserError: if it cannot read any text.
        """
        sample = self._sample()
        if sample is None:
            raise UserError("the tokenizer cannot read text: it gives no tokens or unknown tokens")
        return template_of(self.backend, self.named, sample)

    @cached_property
    def end_of_text(self) -> int | None:
        """Token that ends a text; None if there is none."""
        return end_of_text(self.backend, self.named)

    def reads_text(self) -> bool:
        """Whether it can read ordinary text, or gives only unknown or no tokens."""
        return self._sample() is not None

    def _sample(self) -> str | None:
        """A text that it can read; None if none is found."""
        return next(filter(self._reads, ORDINARY), None) or next(
            filter(self._reads, sorted(self.spellings())[:SOME_WORDS]), None
        )

    def _reads(self, text: str) -> bool:
        """Whether letters or digits of a text become known tokens."""
        try:
            (tokens,) = self._encode([text])
        except UserError:
            return False
        known = self.decode([token for token in tokens if token != self.unknown])
        return any(map(str.isalnum, known))

    @cached_property
    def _confusable(self) -> dict[int, str]:
        """Control tokens that its model also produces from their spelling in a text."""
        return {
            token: text
            for token, text in control_tokens(self.backend).items()
            if token != self.unknown and token in self._encode([text])[0]
        }

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without control tokens.

        Raises:
            UserError: if it cannot read a text.
            ControlInText: if a text becomes a control token.
        """
        found = self._encode(texts)
        for place, tokens in enumerate(found if self._confusable else ()):
            for token in self._confusable.keys() & set(tokens):
                raise ControlInText(self._confusable[token], place)
        return found

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception as error:  # the package raises nothing more special
            raise UserError(f"the tokenizer cannot read this text: {error}") from error
        return [encoding.ids for encoding in encodings]

    def cut(self, texts: Sequence[str]) -> list[Cut]:
        """Tokens of each text and their spans."""
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return [Cut(encoding.ids, encoding.offsets) for encoding in encodings]

    def names(self, tokens: Sequence[int]) -> list[str]:
        """Names of these tokens in the vocabulary."""
        return [self.backend.id_to_token(token) for token in tokens]

    def spellings(self) -> list[str]:
        """Text of each token alone, in any order."""
        return self.spelled([*self.backend.get_vocab(with_added_tokens=False).values()])

    def spelled(self, tokens: Sequence[int]) -> list[str]:
        """Text of each of these tokens alone."""
        return self.backend.decode_batch([[token] for token in tokens])

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens."""
        return self.backend.decode(list(tokens), skip_special_tokens=False)

    def save(self, path: Path) -> None:
        """Write it as a file that `load_tokenizer` and `tokenizers` read."""
        path.write_text(self.backend.to_str(pretty=True), encoding="utf-8")
