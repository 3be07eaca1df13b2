"""What the figures share: grids of small panels, their axes, and a legend above them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy.typing as npt
import pandas as pd

from recollect.reports.canvas import (
    Axes,
    EngFormatter,
    Figure,
    FixedLocator,
    Line2D,
    LogLocator,
    NullFormatter,
    NullLocator,
)
from recollect.reports.style import CHANCE, COLUMN, GREY, PAGE, dashes, looks
from recollect.reports.titles import title
from recollect.studies.cell import CELL_NAMES

COLUMN_PANELS = 2
"""More panels than this in a row take the width of the page."""
HANDLE_INCHES, LETTER_INCHES = 0.45, 0.06
"""Room that a legend's entry takes: its line, and each letter of its name."""
LEGEND_ROW, LEGEND_ROWS = 0.15, 2
"""Inches that a row of a legend takes, and for how many a figure has room."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TITLE_LETTERS = 24
"""What fits above a narrow panel."""


def panels(rows: int, columns: int, height: float) -> tuple[Figure, npt.NDArray[Any]]:
    """A figure of rows x columns panels that share their axes, each `height` inches high, with room
    for a legend of two rows."""
    width = COLUMN if columns <= COLUMN_PANELS else PAGE
    figure = Figure(figsize=(width, rows * height + 1.0), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    return figure, axes


def curves(
    panel: pd.DataFrame, everything: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows of each mixer and depth, with how their line looks in every panel of a figure."""
    look, dash = looks(everything["mixer"]), dashes(everything["n_layers"])
    by_curve: Any = panel.groupby(["mixer", "n_layers"], sort=False)
    for (mixer, depth), rows in by_curve:
        yield look[mixer].line() | {"linestyle": dash[depth]}, rows


def mean_and_range(
    ax: Axes,
    curve: pd.DataFrame,
    x: str,
    y: str,
    look: dict[str, Any],
    *,
    bars_at: str | None = None,
) -> None:
    """A line through the means, in the order of the rows; bars from minimum to maximum.

    Args:
        ax: where.
        curve: the rows.
        x: the column of the means' places.
        y: the column of the means, beside which `{y}_min` and `{y}_max` stand.
        look: of the line.
        bars_at: the column of the bars' places, where these stand side by side; None: `x`.
    """
    bars = [curve[y] - curve[f"{y}_min"], curve[f"{y}_max"] - curve[y]]
    bars = [bar.clip(lower=0) for bar in bars]  # the mean of equal numbers may miss them by a bit
    if bars_at is None:
        ax.errorbar(curve[x], curve[y], yerr=bars, elinewidth=0.8, **look)
        return
    place, colour = curve[bars_at], look["color"]
    ax.errorbar(place, curve[y], yerr=bars, elinewidth=0.8, fmt="none", ecolor=colour)
    ax.plot(curve[x], curve[y], **look)


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, its mixers told apart by their recipes where these differ."""
    recipes = frame["recipe"]
    if recipes.nunique() < 2:
        return frame
    names = frame["mixer"].where(recipes == "", frame["mixer"] + " [" + recipes + "]")
    return frame.assign(mixer=names)


def observed_cells(cells: pd.DataFrame, observed: pd.DataFrame) -> pd.DataFrame:
    """The cells that rows of a table of observations are of."""
    names = [*CELL_NAMES]
    there = pd.MultiIndex.from_frame(observed[names])
    return cells[pd.MultiIndex.from_frame(cells[names]).isin(there)]


def cell_title(cell: Any, everything: pd.DataFrame) -> str:
    """A cell in words, in several short lines; its task, where there are others."""
    name = in_words(cell.mixer, cell.attention_window)
    unbroken = name.replace(", window ", ", window\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(unbroken, TITLE_LETTERS, break_long_words=False)
    lines.append(f"d_model {cell.d_model}, {layers(cell.n_layers)}")
    if everything["task"].nunique() > 1:
        lines.append(str(cell.task))
    return "\n".join(lines)


def accuracy_axis(ax: Axes, lowest: float = -0.03) -> None:
    """0 to 1, with room for the markers at both ends."""
    ax.set_ylim(lowest, 1.09)
    ax.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    ax.yaxis.set_minor_locator(FixedLocator([0.25, 0.75]))
    ax.yaxis.set_major_formatter(lambda accuracy, _: f"{accuracy:g}")


def accuracy_below(ax: Axes) -> None:
    """0 to 1 along the foot of a panel whose rows have names."""
    ax.set_xlim(-0.04, 1.04)
    ax.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    ax.xaxis.set_major_formatter(lambda accuracy, _: f"{accuracy:g}")
    ax.tick_params(axis="y", length=0)


def width_axis(ax: Axes, widths: Sequence[int]) -> None:
    """Logarithmic to the base 2, a tick at each width that was tried."""
    ax.set_xscale("log", base=2)
    ax.set_xlim(widths[0] / 2**0.4, widths[-1] * 2**0.4)
    ax.xaxis.set_major_locator(FixedLocator(widths))
    ax.xaxis.set_major_formatter(lambda width, _: f"{width:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def rate_axis(ax: Axes) -> None:
    """Logarithmic, labelled at the decades."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10))
    ax.xaxis.set_major_formatter(lambda rate, _: power_of_ten(rate))
    ax.xaxis.set_minor_locator(LogLocator(base=10, subs=range(2, 10)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """A decade as text: 10 with a raised exponent."""
    return "10" + f"{math.log10(value):.0f}".translate(RAISED)


def loss_axis(ax: Axes) -> None:
    """Logarithmic, in plain numbers, with as many labels as the range of the lines asks for."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(log_labels(ax.get_ylim(), few=2, some=1))
    ax.yaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def size_axis(ax: Axes) -> None:
    """Logarithmic, in thousands and millions, with as many labels as the range asks for."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(log_labels(ax.get_xlim(), few=2, some=0.6))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_locator(LogLocator(base=10, subs=range(2, 10)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def log_labels(limits: tuple[float, float], *, few: float, some: float) -> LogLocator:
    """Labels at the decades alone where the limits are more than `few` decades apart, at 1, 2 and 5
    where they are more than `some`, and closer below."""
    decades = math.log10(limits[1] / limits[0])
    digits = (1,) if decades > few else (1, 2, 5) if decades > some else (1, 1.5, 2, 3, 4, 5, 7)
    return LogLocator(base=10, subs=digits)


def name_axes(figure: Figure, axes: npt.NDArray[Any], x: str, y: str) -> None:
    """Once for all panels. Beside a single row the name stands at its middle, not at that of a
    figure with a legend."""
    figure.supxlabel(x)
    if len(axes) == 1:
        axes[0, 0].set_ylabel(y)
    else:
        figure.supylabel(y)


def headings(axes: npt.NDArray[Any], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Name the columns above the first row, and the rows at the right of the last column."""
    for ax, text in zip(axes[0], columns, strict=True):
        ax.set_title(text)
    for ax, text in zip(axes[:, -1], rows, strict=True):
        ax.annotate(
            text,
            (1.03, 0.5),
            xycoords="axes fraction",
            rotation=-90,
            ha="left",
            va="center",
            fontsize=7,
        )


def legend(figure: Figure, frame: pd.DataFrame, *extra: Line2D) -> None:
    """Above the panels: mixers, line styles of the depths where there are several, `extra`."""
    windows = dict(zip(frame["mixer"], frame["attention_window"], strict=True))
    handles = [
        Line2D([], [], label=in_words(mixer, windows[mixer]), **look.line())
        for mixer, look in looks(frame["mixer"]).items()
    ]
    depths = dashes(frame["n_layers"])
    if len(depths) > 1:
        handles += [
            Line2D([], [], color=GREY, linestyle=dash, label=layers(depth))
            for depth, dash in sorted(depths.items())
        ]
    place_legend(figure, [*handles, *extra])


def place_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Above the panels, in as many columns as there is room for. The figure grows by the rows for
    which it has none."""
    labels = [str(handle.get_label()) for handle in handles]
    columns = fitting_columns(labels, figure.get_figwidth())
    further = max(0, -(-len(labels) // columns) - LEGEND_ROWS)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * further)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def fitting_columns(labels: Sequence[str], inches: float) -> int:
    """The most columns, filled one after the other, that fit beside each other."""
    for rows in range(1, len(labels)):
        columns = [labels[start : start + rows] for start in range(0, len(labels), rows)]
        widest = [max(map(len, column)) for column in columns]
        if sum(HANDLE_INCHES + LETTER_INCHES * letters for letters in widest) <= inches:
            return len(columns)
    return 1


def in_words(mixer: str, attention_window: float | None) -> str:
    """A mixer by the name it has in print, with its window if its label does not tell it."""
    told = pd.isna(attention_window) or "window=" in mixer
    return title(mixer) if told else f"{title(mixer)}, window {attention_window:.0f}"


def layers(depth: int) -> str:
    """A depth in words."""
    return f"{depth} layer" if depth == 1 else f"{depth} layers"


def draw_chance(ax: Axes, chances: pd.Series) -> None:
    """A line at what guessing gets."""
    for chance in chances.unique():
        ax.axhline(chance, **CHANCE)


def absent(ax: Axes) -> None:
    """Say that there is nothing to draw."""
    ax.text(0.5, 0.5, "no results", transform=ax.transAxes, ha="center", va="center", color=GREY)
