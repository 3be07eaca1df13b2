"""A text as a stream of documents, and its parts for training, validation and test.

A hash of its content determines the part of a document. So it stays in its part when others are
added, renamed or reordered, and its copies are in the same part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from recollect.config import digest
from recollect.language.reading import Reading

FIELD = "text"
"""Field of a row that holds the document."""

Part = Literal["train", "valid", "test"]
VALID_SHARE, TEST_SHARE = 0.05, 0.05


class Document(NamedTuple):
    """A document and its number in the whole corpus, from 0."""

    number: int
    text: str


@dataclass(frozen=True)
class Corpus:
    """A text whose documents can be read repeatedly (`sources.open_corpus`).

    Attributes:
        name: the user's name for it.
        digest: digest of its content.
        numbers: number of documents of the whole corpus; a part has only some of them.
        documents: starts reading the documents.
        reading: how it was read.
    """

    name: str
    digest: str
    numbers: int
    documents: Callable[[], Iterator[Document]]
    reading: Reading

    def part(self, part: Part) -> Corpus:
        """The part for training, validation or test."""
        return replace(
            self,
            name=f"{self.name}@{part}",
            digest=digest([self.digest, part, VALID_SHARE, TEST_SHARE]),
            documents=lambda: (each for each in self.documents() if part_of(each.text) == part),
            reading=replace(self.reading, part=part),
        )


def part_of(text: str) -> Part:
    """Part to which a document belongs."""
    hashed = hashlib.sha256(text.encode()).digest()
    share = int.from_bytes(hashed[:8], "big") / 2**64
    if share < TEST_SHARE:
        return "test"
    return "valid" if share < TEST_SHARE + VALID_SHARE else "train"


def missing_parts(corpus: Corpus) -> list[Part]:
    """Parts without a document; stops reading when each has one."""
    missing: list[Part] = list(get_args(Part))
    for document in corpus.documents():
        part = part_of(document.text)
        if part in missing:
            missing.remove(part)
        if not missing:
            break
    return missing


def numbered(texts: Iterable[str]) -> Iterator[Document]:
    """Documents of a whole corpus with their numbers."""
    return (Document(number, text) for number, text in enumerate(texts))
