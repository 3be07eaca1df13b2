"""Words that a tokenizer knows as one token each."""

from __future__ import annotations

import re

from recollect.language.tokenizer import Tokenizer

WORD = re.compile(r"[a-z]{3,}")
BEFORE = "-"
"""What words are tried behind."""


def words_of(tokenizer: Tokenizer) -> list[str]:
    """All words of at least three lower-case letters, a to z, that are one token with a space
    before them; some are parts of longer words. In alphabetical order."""
    spelled = {text.strip() for text in tokenizer.spellings()}
    tried = sorted(text for text in spelled if WORD.fullmatch(text))
    cuts = tokenizer.cut([f"{BEFORE} {word}" for word in tried])
    return [
        word
        for word, cut in zip(tried, cuts, strict=True)
        if len(cut.at(len(BEFORE), len(BEFORE) + 1 + len(word))) == 1  # and the space
    ]
