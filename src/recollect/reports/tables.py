"""Tables of a study, from its frames (`studies.results`).

Tables for people are rounded; CSV, Parquet and JSON have all columns and digits.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recollect.errors import UserError, to_install, unknown
from recollect.files import replacing
from recollect.reports.diverged import how_diverged
from recollect.reports.markup import Rows, in_latex, in_markdown
from recollect.reports.titles import title
from recollect.studies.learnt import has_not_learnt, not_learnt, rate_text, rates_text, rounded
from recollect.studies.results import further_metrics

UNKNOWN = "-"
"""Stands for a missing value."""

WINDOW = "the range of rates, in powers of ten, that reach 90 % of the accuracy of the chosen rate"


def readable(cells: pd.DataFrame) -> tuple[list[str], Rows]:
    """Headings and rows of the table of cells, rounded.

    A star marks a learning rate that ties with the lowest or highest that was tried. For a cell
    that has not learnt, words say so, with its accuracy in brackets. "diverged" stands for the
    accuracy of a cell whose every rate diverged.
    """
    columns: dict[str, Callable[[Any], str]] = {
        "task": lambda c: c.task,
        "mixer": lambda c: c.mixer,
        "recipe": lambda c: c.recipe or "default",
        "layers": lambda c: str(c.n_layers),
        "d_model": lambda c: str(c.d_model),
        "attention window": lambda c: count(c.attention_window),
        "learning rate": lambda c: rate(c.learning_rate) + ("*" if c.at_edge else ""),
        "rates tried": _rates_tried,
        "window (decades)": lambda c: UNKNOWN if pd.isna(c.window) else c.window,
        "test accuracy (range over seeds)": _spread,
        "chance": lambda c: chance_text(c.chance),
        "seeds": lambda c: count(c.seeds),
        "failed trials": lambda c: f"{c.failed} of {c.trials}" if c.failed else "0",
        "parameters": lambda c: count(c.parameters),
        "steps": lambda c: count(c.steps),
    }
    left_out = {
        "recipe": not cells["recipe"].any(),
        "attention window": cells["attention_window"].isna().all(),
        "window (decades)": cells["window"].isna().all(),
        "chance": cells["chance"].nunique(dropna=False) == 1,
        "failed trials": not cells["failed"].any(),
    }
    columns = {name: text for name, text in columns.items() if not left_out.get(name)}
    rows = [[text(cell) for text in columns.values()] for cell in cells.itertuples()]
    headings = [*columns]
    for name in map(str, cells.columns):  # one column per further test task
        if name.startswith("test_accuracy["):
            headings.append(name.replace("test_", "test ", 1))
            for row, cell, value in zip(rows, cells.itertuples(), cells[name], strict=True):
                row.append(_beside(cell, value))
    for name in further_metrics(cells):
        headings.append(f"test {name} (range over seeds)")
        for row, cell in zip(rows, cells.itertuples(), strict=True):
            values = (getattr(cell, f"test_{name}{end}") for end in ("", "_min", "_max"))
            row.append(_range(*values))
    return headings, rows


def short(cells: pd.DataFrame) -> tuple[list[str], Rows]:
    """The main columns of the readable table.

    These are the columns that distinguish cells, the chosen rate, the window, the accuracy, and the
    failed trials.
    """
    headings, rows = readable(cells)
    names = [name for name in ("task", "layers") if len({*_column(name, headings, rows)}) == 1]
    left_out = {*names, "attention window", "rates tried", "seeds", "parameters", "steps"}
    kept = [i for i, name in enumerate(headings) if name not in left_out]
    return [headings[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _column(name: str, headings: Sequence[str], rows: Rows) -> list[str]:
    return [row[headings.index(name)] for row in rows]


def rate(value: float) -> str:
    """A learning rate with up to three digits: `1e-4`, `4.64e-4`."""
    return UNKNOWN if pd.isna(value) else rate_text(value)


def accuracy(value: float, decimals: int = 3) -> str:
    """A rounded share; 1.000 only if every answer is correct."""
    return UNKNOWN if pd.isna(value) else rounded(value, decimals)


def chance_text(value: float) -> str:
    """A chance level; one below 0.0005 with two digits, `1.2e-04`."""
    text = accuracy(value)
    return f"{value:.2g}" if value and text == "0.000" else text


def common_chance(cells: pd.DataFrame) -> list[str]:
    """The chance level that all cells share, in words; nothing if they differ."""
    if cells["chance"].nunique(dropna=False) != 1:
        return []
    further = any(str(name).startswith("test_accuracy[") for name in cells)
    text = f"chance level {chance_text(cells['chance'].iloc[0])}"
    return (
        [f"{text} on the task of the training; further tests may have another"]
        if further
        else [text]
    )


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return UNKNOWN if pd.isna(value) else f"{round(value):,}"


def plural(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """A duration: `40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def _beside(cell: Any, further: float) -> str:
    """Accuracy on a further test task; in brackets if the cell has not learnt."""
    text = accuracy(further)
    return f"({text})" if has_not_learnt(cell) and text != UNKNOWN else text


def _rates_tried(cell: Any) -> str:
    return UNKNOWN if pd.isna(cell.lowest_rate) else rates_text(cell.lowest_rate, cell.highest_rate)


def _spread(cell: Any) -> str:
    if pd.isna(cell.test_accuracy):
        return "diverged" if how_diverged(cell) else UNKNOWN
    low, high = accuracy(cell.test_accuracy_min), accuracy(cell.test_accuracy_max)
    middle = accuracy(cell.test_accuracy)
    if has_not_learnt(cell):
        seeds = cell.learnt_searching, cell.searching_seeds
        outcome = not_learnt(cell.budget, cell.lowest_rate, cell.highest_rate, *seeds)
        return f"{outcome} ({middle})"
    return middle if low == high else f"{middle} ({low}–{high})"


def _range(middle: float, low: float, high: float) -> str:
    """A further metric with its range, to three significant digits."""
    if pd.isna(middle):
        return UNKNOWN
    texts = [_three_digits(value) for value in (middle, low, high)]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]}–{texts[2]})"


def _three_digits(value: float) -> str:
    """A number below 1 never reads 1: metrics may be shares."""
    text = f"{value:.3g}"
    return "0.999" if text == "1" and value < 1 else text


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as plain values, for JSON; missing values are None."""
    plain = frame.astype(object)  # numpy's numbers become Python's
    rows: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict(orient="records")
    return rows


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write all columns with all digits."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write all columns with their types.

    Raises:
        UserError: if pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"Parquet needs pyarrow: {to_install('parquet')}")
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_markdown(
    cells: pd.DataFrame, path: Path, *, columns: Sequence[str] | None = None
) -> None:
    """Write the readable table in GitHub's Markdown; `columns` as in `select`."""
    with replacing(path) as temporary:
        temporary.write_text(markdown(cells, columns=columns), encoding="utf-8")


def markdown(cells: pd.DataFrame, *, columns: Sequence[str] | None = None) -> str:
    """The readable table in Markdown, with printed names of mixers; `columns` as in `select`."""
    table = readable(cells.assign(mixer=cells["mixer"].map(title)))
    return in_markdown(*select(*table, columns))


def write_latex(
    cells: pd.DataFrame, path: Path, *, study: str = "", columns: Sequence[str] | None = None
) -> None:
    """Write the readable table as LaTeX; the arguments are those of `latex`."""
    with replacing(path) as temporary:
        temporary.write_text(latex(cells, study=study, columns=columns), encoding="utf-8")


def latex(cells: pd.DataFrame, *, study: str = "", columns: Sequence[str] | None = None) -> str:
    """The readable table as a LaTeX `table` with booktabs rules, caption and label.

    Args:
        cells: of a study (`studies.results.cells_frame`).
        study: the name of the study, for caption and label.
        columns: as in `select`.

    Raises:
        UserError: for a column that the table does not have.
    """
    headings, rows = select(*readable(cells.assign(mixer=cells["mixer"].map(title))), columns)
    return in_latex(headings, rows, caption=caption(cells, headings, study), label=study)


def caption(cells: pd.DataFrame, headings: Sequence[str], study: str) -> str:
    """What a reader of the table must know: its numbers, the star and the window."""
    seeds = sorted({int(number) for number in cells["seeds"].dropna() if number > 0})
    noun = "seed" if seeds == [1] else "seeds"
    over = f" over {' or '.join(f'{number:,}' for number in seeds)} {noun}" if seeds else ""
    parts = [
        f"{study + ': ' if study else ''}Test accuracy at the learning rate with the best"
        f" validation result: mean{over}, and lowest to highest in brackets."
    ]
    if any(has_not_learnt(cell) for cell in cells.itertuples()):
        parts.append("Where a model has not learnt, only the mean is given, in brackets.")
    parts += [f"{line.capitalize()}." for line in common_chance(cells)]
    if "learning rate" in headings and cells["at_edge"].any():
        parts.append("* The rate ties with the lowest or highest rate that was tried.")
    if "window (decades)" in headings:
        parts.append(f"Window: {WINDOW}; its edges are interpolated between tried rates.")
    return " ".join(parts)


def select(
    headings: Sequence[str], rows: Rows, columns: Sequence[str] | None
) -> tuple[list[str], Rows]:
    """Some columns of a table in the given order.

    Args:
        headings: of the table.
        rows: of the table.
        columns: headings, with or without their brackets: "window", "test accuracy". None: all.

    Raises:
        UserError: for a column that the table does not have.
    """
    if columns is None:
        return list(headings), rows
    names = _places(headings)
    for column in columns:
        if column not in names:
            raise unknown("column", column, list(map(_without_brackets, headings)))
    places = [names[column] for column in columns]
    return [headings[i] for i in places], [[row[i] for i in places] for row in rows]


def named_columns(text: str, headings: Sequence[str]) -> list[str]:
    """Split a list of columns at commas, for `select`; a heading may contain commas itself."""
    known = sorted(_places(headings), key=len, reverse=True)
    found, rest = [], text.strip()
    while rest:
        heads = (name for name in known if re.match(rf"{re.escape(name)}\s*(,|$)", rest))
        name = next(heads, rest.partition(",")[0].rstrip())
        found.append(name)
        rest = rest[len(name) :].lstrip().removeprefix(",").lstrip()
    return found


def _places(headings: Sequence[str]) -> dict[str, int]:
    """The place of each heading, with and without its brackets."""
    short = [_without_brackets(heading) for heading in headings]
    return {name: i for names in (short, headings) for i, name in enumerate(names)}


def _without_brackets(heading: str) -> str:
    return re.sub(r" \([^()]*\)$", "", heading)
