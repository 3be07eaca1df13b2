"""Documents in a file: plain text is one, JSON lines and Parquet have one in each row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recollect.errors import UserError
from recollect.language.extras import optional

FIELD = "text"
"""Holds the document in a row."""
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""Some programs begin a file with it."""
JSON_LINES, PARQUET = ".jsonl", ".parquet"
"""Suffixes; every other file is plain text."""
CHUNK = 2**20


class NotTextError(UserError):
    """A file that holds no text: empty, not UTF-8, or rows of something else."""


class Scan(NamedTuple):
    """What a file holds: the number of its documents, and a digest."""

    documents: int
    digest: str


def scan(path: Path) -> Scan:
    """See what a file holds.

    Raises:
        NotTextError: if it is empty or not UTF-8, or its rows have no text.
        UserError: if it cannot be read, is damaged, or has some rows without a text.
    """
    hashed = hashlib.sha256(path.suffix.encode())
    documents = 1
    try:
        if path.stat().st_size == 0:
            raise NotTextError(f"{path} is empty: expected text")
        with path.open("rb") as file:
            if path.suffix == JSON_LINES:
                documents = 0
                for number, line in enumerate(file, 1):
                    hashed.update(line)
                    documents += _is_document(line, path, number, first=documents == 0)
            elif path.suffix == PARQUET:
                documents = _parquet(path).metadata.num_rows
                while part := file.read(CHUNK):
                    hashed.update(part)
            else:
                whole = file.read()
                _decoded(whole, path, 1)
                hashed.update(whole)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return Scan(documents, hashed.hexdigest())


def texts(path: Path) -> Iterator[str]:
    """The documents of a file.

    Raises:
        UserError: for a row without a text.
    """
    if path.suffix == PARQUET:
        for batch in _parquet(path).iter_batches(batch_size=1024, columns=[FIELD]):
            for text in batch.column(0).to_pylist():
                yield text or ""
    elif path.suffix == JSON_LINES:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                row = _decoded(line, path, number)
                if row.strip():
                    yield _of_row(row, path, number)
    else:
        yield _decoded(path.read_bytes(), path, 1)


def _is_document(line: bytes, path: Path, number: int, *, first: bool) -> bool:
    """Whether a line of JSON lines is a document, and no blank; a file is one of something else if
    the first that is no blank has no text."""
    row = _decoded(line, path, number)
    if not row.strip():
        return False
    try:
        _of_row(row, path, number)
    except UserError as error:
        if first:
            raise NotTextError(str(error)) from None
        raise
    return True


def _decoded(part: bytes, path: Path, first_line: int) -> str:
    try:
        text = part.decode()
    except UnicodeDecodeError as error:
        line = first_line + part.count(b"\n", 0, error.start)
        raise NotTextError(
            f"{path} is not UTF-8: line {line} has the byte 0x{part[error.start]:02x}; convert it,"
            " with iconv for instance"
        ) from None
    return text.removeprefix(BYTE_ORDER_MARK) if first_line == 1 else text


def _of_row(line: str, path: Path, number: int) -> str:
    try:
        text = json.loads(line)[FIELD]
        text.encode()  # JSON may spell what is no character
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f'{path}, line {number}: expected JSON such as {{"{FIELD}": "a document"}},'
            f" got {line[:60]!r}"
        ) from None
    return text


def _parquet(path: Path) -> Any:
    parquet = optional("pyarrow.parquet", extra="parquet")
    try:
        file = parquet.ParquetFile(path)
    except ValueError as error:  # what pyarrow raises for damage is one
        raise UserError(f"{path} is damaged or no Parquet file: {error}") from None
    columns = file.schema_arrow
    if FIELD not in columns.names or str(columns.field(FIELD).type) not in (
        "string",
        "large_string",
    ):
        raise NotTextError(
            f"{path} has no column {FIELD!r} of strings, only {', '.join(columns.names)}"
        )
    return file
