"""Tables as text that stay readable in narrow terminals."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

BETWEEN = 2
"""Spaces between columns."""


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Group:
    """A table for a width in characters.

    If it is too wide, columns with one value in all rows become a line below the table, the columns
    move closer, and cells break between words.
    """
    table, below = _table(columns, rows), []
    constant = _constant_columns(rows)
    if constant and _least_width(table) > width:
        kept = [i for i in range(len(columns)) if i not in constant]
        table = _table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows])
        common = "; ".join(f"{columns[i]} {rows[0][i]}" for i in constant)
        below = [Text(f"in all rows: {common}")]
    if _least_width(table) > width:
        table.padding = (0, 0, 0, 0)
    return Group(table, *below)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading, *cells in zip(columns, *rows, strict=True):
        words = " ".join([heading, *cells]).split()
        table.add_column(Text(heading), min_width=max(map(len, words)))
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _least_width(table: Table) -> int:
    """The width of a table if every cell breaks at every space."""
    return sum((column.min_width or 0) + BETWEEN for column in table.columns) - 1


def _constant_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """The indices of columns with one value in all rows, if other columns differ."""
    columns = list(zip(*rows, strict=True))
    constant = [i for i, cells in enumerate(columns) if len(set(cells)) == 1]
    return constant if len(rows) > 1 and len(constant) < len(columns) else []
