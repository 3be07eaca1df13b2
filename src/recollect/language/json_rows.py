"""Rows of JSON: one per line, consecutive values, or the items of an array.

A row is an object whose field `text` holds a document, or the document itself as a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recollect.language.corpus import FIELD
from recollect.language.text_bytes import BYTE_ORDER_MARK, NotTextError, decoded

EXAMPLE = f'{{"{FIELD}": "a document"}}'
NOT_JSON = "not valid JSON"
EXCERPT = 60
"""Characters of a row that a message quotes."""
DECODER = json.JSONDecoder(parse_int=float)
"""Decoder that reads integers as floats, because Python limits the digits of an int."""
BLANKS = re.compile(rf"[ \t\r\n{BYTE_ORDER_MARK}]*")


class Value(NamedTuple):
    """A JSON value and the beginning of its text."""

    value: Any
    source: str


def line_rows(lines: Iterable[bytes], path: Path) -> Iterator[str | None]:
    """Document of each nonblank line; None for a row without one.

    Raises:
        NotTextError: for a line that is not a row, and if no row has a document.
    """
    return _documents(_line_values(lines, path), path, "line")


def value_rows(parts: Iterable[bytes], path: Path) -> Iterator[str | None]:
    """Document of each value of a JSON file or item of its array; None for a row without one.

    Memory holds the whole file.

    Raises:
        NotTextError: for a value that is not a row, and if no row has a document.
    """
    values = json_values(decoded(b"".join(parts), path), path)
    return _documents(enumerate(values, 1), path, "row")


def json_values(text: str, path: Path) -> Iterator[Value]:
    """Consecutive JSON values, or the items of the array that the text consists of.

    Raises:
        NotTextError: if the text is not valid JSON.
    """
    at = _skip(text, 0)
    if text[at : at + 1] == "[":
        at = yield from _items(text, _skip(text, at + 1), path)
        if at < len(text):
            raise _invalid(text, at, path, "more behind the array")
    while at < len(text):
        value, at = _value(text, at, path)
        yield value
        at = _skip(text, at)


def first_value(text: str, path: Path) -> tuple[Any, str]:
    """First value (None for an empty array) and the next nonblank character after it, or "".

    Raises:
        NotTextError: if it is not valid JSON.
    """
    at = _skip(text, 0)
    if text[at] == "[":
        at = _skip(text, at + 1)
        if text[at : at + 1] == "]":
            return None, "]"
    first, end = _value(text, at, path)
    behind = _skip(text, end)
    return first.value, text[behind : behind + 1]


def has_text(value: Any) -> bool:
    """Whether a JSON value is an object with a document or null in the field."""
    return isinstance(value, dict) and isinstance(value.get(FIELD, 0), str | None)


def parse(line: str) -> Any:
    """Value of a line.

    Raises:
        ValueError: if it is not valid JSON; the message is the reason.
    """
    try:
        return DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise ValueError(error.msg) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _line_values(lines: Iterable[bytes], path: Path) -> Iterator[tuple[int, Value]]:
    for number, line in enumerate(lines, 1):
        text = decoded(line, path, number).strip()
        if not text:
            continue
        try:
            value = parse(text)
        except ValueError as error:
            raise _no_row(path, f"line {number}", text, str(error)) from None
        yield number, Value(value, text)


def _documents(values: Iterable[tuple[int, Value]], path: Path, unit: str) -> Iterator[str | None]:
    found = False
    source: str | None = None
    for number, (value, source) in values:
        text = value.get(FIELD) if isinstance(value, dict) else value
        if isinstance(text, str):
            try:
                text.encode()  # JSON can hold half of a surrogate pair
            except UnicodeEncodeError:
                raise _no_row(path, f"{unit} {number}", source, "half a surrogate pair") from None
            found = True
        elif text is not None or value is None:
            raise _no_row(path, f"{unit} {number}", source, "the text is no string")
        yield text
    if source is None:
        raise NotTextError(f"{path} has no rows: expected rows such as {EXAMPLE}", "no rows")
    if not found:
        raise NotTextError(
            f"no row of {path} has a text: expected rows such as {EXAMPLE}, got"
            f" {source[:EXCERPT]!r}",
            "no text in any row",
        )


def _no_row(path: Path, place: str, source: str, reason: str) -> NotTextError:
    return NotTextError(
        f"{path}, {place}: expected JSON such as {EXAMPLE}, got {source[:EXCERPT]!r} ({reason})",
        NOT_JSON,
    )


def _items(text: str, at: int, path: Path) -> Generator[Value, None, int]:
    """Items of the array that begins before `at`; returns the next place after it."""
    mark = text[at : at + 1]
    if mark == "]":
        at = _skip(text, at + 1)
    while mark != "]":
        value, at = _value(text, at, path)
        yield value
        at = _skip(text, at)
        mark = text[at : at + 1]
        if mark not in (",", "]"):
            raise _invalid(text, at, path, "an array breaks off")
        at = _skip(text, at + 1)
    return at


def _value(text: str, at: int, path: Path) -> tuple[Value, int]:
    try:
        value, end = DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _invalid(text, at, path, error.msg) from None
    except RecursionError:
        raise _invalid(text, at, path, "nested too deeply") from None
    return Value(value, text[at : at + EXCERPT]), end


def _invalid(text: str, at: int, path: Path, reason: str) -> NotTextError:
    line = text.count("\n", 0, at) + 1
    return _no_row(path, f"line {line}", text[at : at + EXCERPT], reason)


def _skip(text: str, at: int) -> int:
    """Next place of a nonblank character."""
    found = BLANKS.match(text, at)
    assert found is not None  # the pattern also matches nothing
    return found.end()
