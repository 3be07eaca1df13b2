"""Documents in the column `text` of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recollect.errors import UserError, in_a_line
from recollect.language.corpus import FIELD
from recollect.language.extras import optional
from recollect.language.text_bytes import NotTextError

ROWS = 1024
"""Rows in memory at a time."""
STRINGS = ("string", "large_string", "string_view")
BINARY = ("binary", "large_binary", "binary_view")
"""Binary types, which some programs use for strings; they are read as UTF-8."""


def parquet_rows(path: Path) -> Iterator[str | None]:
    """Document of each row; None for null.

    Checksums of pages are verified if the file has them.

    Raises:
        NotTextError: if there is no column of strings, or no row has a document.
        UserError: if the file is damaged, or no Parquet.
    """
    parquet = optional("pyarrow.parquet", extra="parquet")
    rows, found = 0, False
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            _check_column(file.schema_arrow, path)
            for batch in file.iter_batches(batch_size=ROWS, columns=[FIELD]):
                batch.validate(full=True)
                for number, value in enumerate(batch.column(0).to_pylist(), rows):
                    text = _as_text(value, number, path)
                    found |= text is not None
                    yield text
                rows += len(batch)
            expected = file.metadata.num_rows
    except UserError:
        raise
    except Exception as error:  # pyarrow's errors for damaged files have no common base
        raise UserError(f"{path} is damaged or not a Parquet file: {in_a_line(error)}") from error
    if rows != expected:
        raise UserError(f"{path} is damaged: it has {rows:,} rows, expected {expected:,}")
    if not found:
        raise NotTextError(f"no row of {path} has a text", "no text in any row")


def _as_text(value: str | bytes | None, number: int, path: Path) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise NotTextError(
            f"{path}, row {number}: the column {FIELD!r} holds bytes that are not UTF-8; expected"
            " strings",
            "not UTF-8",
        ) from None


def _check_column(schema: Any, path: Path) -> None:
    if FIELD not in schema.names:
        raise NotTextError(
            f"{path} has no column {FIELD!r} of strings, only {', '.join(schema.names)}",
            "no column of strings",
        )
    kind = schema.field(FIELD).type
    plain = getattr(kind, "storage_type", kind)  # of an extension
    if str(plain).startswith("dictionary"):
        plain = plain.value_type
    if str(plain) not in (*STRINGS, *BINARY, "null"):
        raise NotTextError(
            f"{path}: the column {FIELD!r} is of type {kind}, expected strings",
            "no column of strings",
        )
