"""Documents in a file: plain text is one, JSON and Parquet have one in each row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from recollect.errors import UserError
from recollect.language.compressed import inner_name, opened
from recollect.language.json_rows import line_rows, value_rows
from recollect.language.parquet_rows import parquet_rows
from recollect.language.text_bytes import NotTextError, decoded
from recollect.language.text_form import JSON, LINES, PARQUET, PLAIN, form_of

CHUNK = 2**20

FileState = tuple[str, int, int]
"""Path, size and modification time of a file, to detect changes."""
OnBytes = Callable[[bytes], None]
"""Called with each part of the bytes that are read."""


@dataclass(frozen=True)
class TextFile:
    """A file of documents.

    Attributes:
        path: the file.
        form: its format (`text_form`).
        documents: number of documents.
        left_out: number of rows without a text.
        digest: digest of its documents.
        state: its `file_state` before it was read.
    """

    path: Path
    form: str
    documents: int
    left_out: int
    digest: str
    state: FileState

    def texts(self) -> Iterator[str]:
        """The documents.

        Raises:
            UserError: if the file can no longer be read, or its content has changed.
        """
        self._check_unchanged()
        yield from (text for text in _rows(self.path, self.form) if text is not None)
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        if file_state(self.path) != self.state and scan(self.path).digest != self.digest:
            raise UserError(
                f"{self.path} has changed since this process opened it: start the process again"
            )


def scan(path: Path) -> TextFile:
    """Read a file to find its format, documents and digest.

    Raises:
        NotTextError: if it has no document: it is empty, not UTF-8, or its rows have no text.
        UserError: if it cannot be read, is damaged, or is truncated after some documents.
    """
    state, form = file_state(path), form_of(path)
    # files with equal bytes may be read as different formats
    read_as = {PLAIN: inner_name(path).suffix, PARQUET: ".parquet"}.get(form, ".jsonl")
    hashed = hashlib.sha256(read_as.encode())
    if form == PARQUET:  # Parquet rows are not read in the order of the bytes
        with opened(path) as file:
            for part in _parts(file):
                hashed.update(part)
    documents = left_out = 0
    try:
        for text in _rows(path, form, hashed.update):
            if text is None:
                left_out += 1
            else:
                documents += 1
    except NotTextError as error:
        if documents == 0:
            raise
        raise UserError(str(error)) from None
    if left_out:
        hashed.update(b"rows left out")  # distinguishes them from empty documents
    return TextFile(path, form, documents, left_out, hashed.hexdigest(), state)


def file_state(path: Path) -> FileState:
    """State of a file; sizes and times are -1 if it is missing."""
    try:
        found = path.stat()
    except OSError:  # missing, or a broken link
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns


def _rows(path: Path, form: str, on_bytes: OnBytes = lambda _: None) -> Iterator[str | None]:
    """Documents of a file; None for a row without one."""
    if form == PARQUET:
        yield from parquet_rows(path)
        return
    with opened(path) as file:
        if form == LINES:
            yield from line_rows(_noted(file, on_bytes), path)
        elif form == JSON:
            yield from value_rows(_noted(_parts(file), on_bytes), path)
        else:
            yield decoded(b"".join(_noted(_parts(file), on_bytes)), path)


def _parts(file: BufferedIOBase) -> Iterator[bytes]:
    return iter(lambda: file.read(CHUNK), b"")


def _noted(parts: Iterable[bytes], on_bytes: OnBytes) -> Iterator[bytes]:
    for part in parts:
        on_bytes(part)
        yield part
