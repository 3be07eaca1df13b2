"""The format of a text file, by its suffix and its content.

A suffix counts in any case, and that of compression is taken off first.

- Parquet: by suffix, or by the magic bytes at both ends.
- JSON lines: by suffix; under another name where the first line is a JSON object and the next line
  begins with `{`, or where there is one line and its object has a text.
- JSON: rows over several lines, or in an array: where the first has a text, where there are several
  objects, or where all are strings.
- Plain text: everything else; so are Python, and a single JSON object without a text.

These are refused: a table with a column of texts, which would be read with its commas, archives,
and `.json` that is not valid JSON, has no rows, or a list for a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from recollect.language.compressed import compression, inner_name, opened
from recollect.language.corpus import FIELD
from recollect.language.json_rows import first_value, has_text, json_values, parse
from recollect.language.text_bytes import (
    BYTE_ORDER_MARK,
    NotTextError,
    check_beginning,
    decoded,
)

PLAIN, LINES, JSON, PARQUET = "plain text", "JSON lines", "JSON", "Parquet"
LINES_SUFFIXES = {".jsonl", ".jsonlines", ".ndjson", ".jl"}
JSON_SUFFIX = ".json"
PARQUET_SUFFIXES = {".parquet", ".parq", ".pq"}
PARQUET_MAGIC = b"PAR1"
PYTHON_SUFFIXES = {".py", ".pyi"}
"""Suffixes of Python files, in which a row of JSON is source code."""
TABLE_SUFFIXES = {".csv": r"[,;|\t]", ".tsv": r"\t"}
"""Suffixes of tables and their column separators; CSV files may use others than commas."""
HEAD = 2**16
BLANKS = b" \t\r\n" + BYTE_ORDER_MARK.encode()


def form_of(path: Path) -> str:
    """The format: PLAIN, LINES, JSON or PARQUET.

    Raises:
        NotTextError: if the file is empty, binary, or in a format that is not read.
        UserError: if it cannot be read.
    """
    if not path.is_file():  # a pipe can be read only once
        raise NotTextError(
            f"{path} is not a regular file: expected text on a disk", "not a regular file"
        )
    suffix = inner_name(path).suffix.lower()
    with opened(path) as file:
        head = file.read(HEAD)
        if _is_parquet(head, suffix, path):
            return PARQUET
        check_beginning(head, path)
        _refuse_table(head, suffix, path)
        begins = head.lstrip(BLANKS)[:1]
        if not _may_be_json(begins, suffix):
            return PLAIN
        file.seek(0)
        if begins != b"[" and _is_lines(file, suffix, path):
            return LINES
        if suffix in LINES_SUFFIXES:
            return JSON
        file.seek(0)
        return _json_or_plain(decoded(file.read(), path), suffix, path)


def _may_be_json(begins: bytes, suffix: str) -> bool:
    if suffix in LINES_SUFFIXES or (suffix == JSON_SUFFIX and begins == b'"'):
        return True
    return suffix not in PYTHON_SUFFIXES and begins in (b"{", b"[")


def _is_lines(file: BufferedIOBase, suffix: str, path: Path) -> bool:
    """Whether the file has one JSON value per line, judged by its first two lines."""
    lines = (line for line in file if line.strip(BLANKS))
    try:
        first = parse(decoded(next(lines, b""), path).strip())
    except ValueError:  # also for bytes that are not UTF-8; reading the file reports the line
        return False
    if suffix in LINES_SUFFIXES:
        return True
    following = next(lines, b"").lstrip(BLANKS)[:1]
    return (following == b"{" and isinstance(first, dict)) or (not following and has_text(first))


def _json_or_plain(text: str, suffix: str, path: Path) -> str:
    try:
        first, following = first_value(text, path)
        if has_text(first) and following in ("", "{", ",", "]"):
            return JSON
        values = [each.value for each in json_values(text, path)]
    except NotTextError:
        if suffix == JSON_SUFFIX:
            raise
        return PLAIN
    several = len(values) > 1 and all(isinstance(value, dict) for value in values)
    strings = len(values) > 0 and all(isinstance(value, str) for value in values)
    return JSON if several or strings or _is_faulty(values, suffix) else PLAIN


def _is_faulty(values: Sequence[Any], suffix: str) -> bool:
    """Whether the file is meant to hold rows but cannot be read; reading it reports the error."""
    lists = (isinstance(each, dict) and isinstance(each.get(FIELD), list) for each in values)
    return suffix == JSON_SUFFIX and (not values or any(lists))


def _refuse_table(head: bytes, suffix: str, path: Path) -> None:
    separators = TABLE_SUFFIXES.get(suffix)
    header = head.lstrip(BLANKS).partition(b"\n")[0].decode(errors="replace")
    if separators and FIELD in [name.strip('" \r') for name in re.split(separators, header)]:
        raise NotTextError(
            f"{path} is a table with a column {FIELD!r}: convert it to JSON lines, with"
            " pandas.read_csv(...).to_json(..., orient='records', lines=True) for instance",
            "table",
        )


def _is_parquet(head: bytes, suffix: str, path: Path) -> bool:
    if compression(path) is not None:
        if suffix in PARQUET_SUFFIXES or head.startswith(PARQUET_MAGIC):
            raise NotTextError(
                f"{path} is compressed Parquet: decompress it, its pages are compressed already",
                "compressed Parquet",
            )
        return False
    return suffix in PARQUET_SUFFIXES or (
        head.startswith(PARQUET_MAGIC) and _ends_with(path, PARQUET_MAGIC)
    )


def _ends_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(-len(magic), 2)
        return file.read() == magic
