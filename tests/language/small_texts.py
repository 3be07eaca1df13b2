"""Small texts and what becomes of them."""

import random
from collections.abc import Sequence
from pathlib import Path

from recollect.language.corpus import Corpus, numbered
from recollect.language.reading import Reading
from recollect.language.shards import Shards, make_shards
from recollect.language.tokenizer import Tokenizer
from recollect.language.tokenizer_files import train_tokenizer

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "another", "run", "off", "with"]


def texts(count: int, seed: int = 0, longest: int = 80) -> list[str]:
    """Documents of a few words each, in which pairs of words repeat."""
    chance = random.Random(seed)
    return [
        " ".join(chance.choice(WORDS) for _ in range(chance.randint(1, longest)))
        for _ in range(count)
    ]


def corpus(documents: Sequence[str], digest: str = "a text") -> Corpus:
    reading = Reading({"made up": len(documents)})
    return Corpus("a text", digest, len(documents), lambda: numbered(documents), reading)


def tokenizer(vocab_size: int = 280) -> Tokenizer:
    return train_tokenizer(texts(50), vocab_size)


def shards(documents: Sequence[str], folder: Path, *, shard_tokens: int = 100) -> Shards:
    return make_shards(corpus(documents), tokenizer(), folder, shard_tokens=shard_tokens)
