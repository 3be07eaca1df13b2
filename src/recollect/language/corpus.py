"""A text as a stream of documents, and its parts for training, validation and test.

To which part a document belongs is told by a hash of its content: it stays there whatever else is
added, renamed or reordered, and copies of it are in the same part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from recollect.config import digest
from recollect.language.reading import Reading

FIELD = "text"
"""Holds the document in a row, where a text has rows."""

Part = Literal["train", "valid", "test"]
VALID_SHARE, TEST_SHARE = 0.05, 0.05


class Document(NamedTuple):
    """A text of its own, and its number among all of its corpus, from 0."""

    number: int
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents to be read, as often as one likes (`sources.open_corpus`).

    Attributes:
        name: what the user calls it.
        digest: its identity: another content, another digest.
        numbers: how many numbers its documents have; a part has but some of them.
        documents: begins to read.
        reading: how it was read.
        sources: digests of the files, or of the data set, that its documents are in.
    """

    name: str
    digest: str
    numbers: int
    documents: Callable[[], Iterator[Document]]
    reading: Reading
    sources: frozenset[str] = frozenset()

    def part(self, part: Part) -> Corpus:
        """The documents for one purpose."""
        return replace(
            self,
            name=f"{self.name}@{part}",
            digest=digest([self.digest, part, VALID_SHARE, TEST_SHARE]),
            documents=lambda: (each for each in self.documents() if part_of(each.text) == part),
            reading=replace(self.reading, part=part),
        )


def overlap(one: Corpus, other: Corpus) -> bool:
    """Whether texts share documents: they have a file or data set in common, and a part of it."""
    parts = {one.reading.part, other.reading.part}
    return bool(one.sources & other.sources) and (None in parts or len(parts) == 1)


def part_of(text: str) -> Part:
    """The part to which a document belongs."""
    hashed = hashlib.sha256(text.encode()).digest()
    share = int.from_bytes(hashed[:8], "big") / 2**64
    if share < TEST_SHARE:
        return "test"
    return "valid" if share < TEST_SHARE + VALID_SHARE else "train"


def missing_parts(corpus: Corpus) -> list[Part]:
    """The parts that have no document; reads until each has one."""
    missing: list[Part] = list(get_args(Part))
    for document in corpus.documents():
        part = part_of(document.text)
        if part in missing:
            missing.remove(part)
        if not missing:
            break
    return missing


def numbered(texts: Iterable[str]) -> Iterator[Document]:
    """The documents of a whole corpus."""
    return (Document(number, text) for number, text in enumerate(texts))
