"""Documents of one text that are also in another, such as the training text."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from recollect.config import digest
from recollect.errors import UserError
from recollect.language.corpus import Corpus
from recollect.language.kept import keep
from recollect.language.progress import OnCount
from recollect.text_output import write_text


def shared_documents(
    text: Corpus,
    other: Corpus,
    folder: Path,
    on_progress: OnCount = lambda *_: None,
) -> int:
    """Number of documents of a text that are also in another text, character by character.

    Blank documents do not count. Different parts share no documents, whatever their texts, because
    the content determines the part. Otherwise both texts are read once and the number is stored.

    Args:
        text: the text whose documents are counted.
        other: the text in which they are looked for.
        folder: cache of the numbers.
        on_progress: called with the numbers of read and of all documents of the other text.

    Raises:
        UserError: if a text cannot be read, or the stored number is damaged.
    """
    parts = {text.reading.part, other.reading.part}
    if len(parts) == 2 and None not in parts:
        return 0
    path = folder / f"shared-{digest([text.digest, other.digest])}"

    def make() -> None:
        write_text(path, str(_count(text, other, on_progress)))

    keep(path, make)
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: remove it to have it written again") from error


def _count(text: Corpus, other: Corpus, report: OnCount) -> int:
    left = Counter(_hash(each.text) for each in text.documents() if each.text.strip())
    shared = 0
    for document in other.documents():
        shared += left.pop(_hash(document.text), 0)
        report(document.number + 1, other.numbers)
    return shared


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
