"""Shared parts of figures: grids of panels, axes and legends."""

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
from recollect.reports.cell_names import layers
from recollect.reports.style import CHANCE, COLUMN, GREY, PAGE, dashes, looks
from recollect.reports.titles import title
from recollect.studies.cell import CELL_NAMES

COLUMN_PANELS = 2
"""A figure with more panels in a row than this is as wide as the page."""
HANDLE_INCHES, LETTER_INCHES = 0.45, 0.06
"""Width of a legend entry: its line, and each letter of its name."""
LEGEND_ROW, LEGEND_ROWS = 0.15, 2
"""Height of a legend row in inches, and the rows that a figure has room for."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TITLE_LETTERS = 24
"""Letters that fit above a narrow panel."""


def panels(rows: int, columns: int, height: float) -> tuple[Figure, npt.NDArray[Any]]:
    """Create rows x columns panels that share axes, with room for a legend of two rows.

    Args:
        rows: the number of rows.
        columns: the number of columns.
        height: the height of a panel in inches.
    """
    width = COLUMN if columns <= COLUMN_PANELS else PAGE
    figure = Figure(figsize=(width, rows * height + 1.0), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    return figure, axes


def task_panels(axes: npt.NDArray[Any], cells: pd.DataFrame) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Yield a panel, with its title, and the rows of each task; remove the panels left over."""
    tasks = list(cells["task"].unique())
    for ax in axes.flat[len(tasks) :]:
        ax.remove()
    for ax, task in zip(axes.flat, tasks, strict=False):
        ax.set_title(task)
        yield ax, cells[cells["task"] == task]


def curves(
    panel: pd.DataFrame, everything: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the rows of each mixer and depth with their look, which all panels share."""
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
    """Draw a line through the means in row order, with bars from minimum to maximum.

    Args:
        ax: the panel.
        curve: the rows.
        x: the column with the x positions of the means.
        y: the column of the means; `{y}_min` and `{y}_max` are the ends of the bars.
        look: keyword arguments of the line.
        bars_at: the column with the x positions of the bars; default: `x`.
    """
    bars = [curve[y] - curve[f"{y}_min"], curve[f"{y}_max"] - curve[y]]
    bars = [bar.clip(lower=0) for bar in bars]  # rounding can put the mean of equal numbers outside
    if bars_at is None:
        ax.errorbar(curve[x], curve[y], yerr=bars, elinewidth=0.8, **look)
        return
    place, colour = curve[bars_at], look["color"]
    ax.errorbar(place, curve[y], yerr=bars, elinewidth=0.8, fmt="none", ecolor=colour)
    ax.plot(curve[x], curve[y], **look)


def range_entry(cells: pd.DataFrame, marker: str = "|") -> list[Line2D]:
    """The legend entry of the bars of `mean_and_range`, if a cell has several seeds."""
    if not (cells["seeds"] > 1).any():
        return []
    bar: dict[str, Any] = {"color": GREY, "linestyle": "", "marker": marker, "markersize": 9}
    return [Line2D([], [], label="range over seeds", **bar)]


def named(frame: pd.DataFrame, cells: pd.DataFrame | None = None) -> pd.DataFrame:
    """Add the recipe to the mixer's name if the recipes of `cells` differ; None: of the frame."""
    recipes = frame["recipe"]
    if (frame if cells is None else cells)["recipe"].nunique() < 2:
        return frame
    names = frame["mixer"].where(recipes == "", frame["mixer"] + " [" + recipes + "]")
    return frame.assign(mixer=names)


def observed_cells(cells: pd.DataFrame, observed: pd.DataFrame) -> pd.DataFrame:
    """The cells that occur in a table of observations."""
    names = [*CELL_NAMES]
    there = pd.MultiIndex.from_frame(observed[names])
    return cells[pd.MultiIndex.from_frame(cells[names]).isin(there)]


def cell_title(cell: Any, everything: pd.DataFrame) -> str:
    """The title of a cell in short lines, with its task if there are several."""
    name = in_words(cell.mixer, cell.attention_window)
    unbroken = name.replace(", window ", ", window\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(unbroken, TITLE_LETTERS, break_long_words=False)
    lines.append(f"d_model {cell.d_model}, {layers(cell.n_layers)}")
    if everything["task"].nunique() > 1:
        lines.append(str(cell.task))
    return "\n".join(lines)


def accuracy_axis(ax: Axes, lowest: float = -0.03) -> None:
    """Show accuracy from 0 to 1, with room for markers at both ends."""
    ax.set_ylim(lowest, 1.09)
    ax.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    ax.yaxis.set_minor_locator(FixedLocator([0.25, 0.75]))
    ax.yaxis.set_major_formatter(lambda accuracy, _: f"{accuracy:g}")


def accuracy_below(ax: Axes) -> None:
    """Show accuracy from 0 to 1 on the horizontal axis of a panel with named rows."""
    ax.set_xlim(-0.04, 1.04)
    ax.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    ax.xaxis.set_major_formatter(lambda accuracy, _: f"{accuracy:g}")
    ax.tick_params(axis="y", length=0)


def width_axis(ax: Axes, widths: Sequence[int]) -> None:
    """Make the axis logarithmic to base 2, with a tick at each width."""
    ax.set_xscale("log", base=2)
    ax.set_xlim(widths[0] / 2**0.4, widths[-1] * 2**0.4)
    ax.xaxis.set_major_locator(FixedLocator(widths))
    ax.xaxis.set_major_formatter(lambda width, _: f"{width:g}")
    ax.xaxis.set_minor_locator(NullLocator())


def rate_axis(ax: Axes) -> None:
    """Make the axis logarithmic, labelled at powers of ten."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10))
    ax.xaxis.set_major_formatter(lambda rate, _: power_of_ten(rate))
    ax.xaxis.set_minor_locator(LogLocator(base=10, subs=range(2, 10)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """A power of ten as text with a raised exponent."""
    return "10" + f"{math.log10(value):.0f}".translate(RAISED)


def loss_axis(ax: Axes) -> None:
    """Make the axis logarithmic, with plain numbers and labels that suit the range."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(log_labels(ax.get_ylim(), few=2, some=1))
    ax.yaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def size_axis(ax: Axes) -> None:
    """Make the axis logarithmic, in thousands and millions, with labels that suit the range."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(log_labels(ax.get_xlim(), few=2, some=0.6))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_locator(LogLocator(base=10, subs=range(2, 10)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def log_labels(limits: tuple[float, float], *, few: float, some: float) -> LogLocator:
    """Choose the labels of a logarithmic axis by its range in decades.

    Above `few` decades only powers of ten are labelled, above `some` also 2 and 5 times these, else
    more.
    """
    decades = math.log10(limits[1] / limits[0])
    digits = (1,) if decades > few else (1, 2, 5) if decades > some else (1, 1.5, 2, 3, 4, 5, 7)
    return LogLocator(base=10, subs=digits)


def name_axes(figure: Figure, axes: npt.NDArray[Any], x: str, y: str) -> None:
    """Name the axes once for all panels.

    The vertical name of a single row is centred on the row, not on the figure with its legend.
    """
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
    """Draw a legend above the panels: mixers, line styles of several depths, and `extra`."""
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
    """Draw a legend above the panels in as many columns as fit; grow the figure if necessary."""
    labels = [str(handle.get_label()) for handle in handles]
    columns = fitting_columns(labels, figure.get_figwidth())
    further = max(0, -(-len(labels) // columns) - LEGEND_ROWS)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * further)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def fitting_columns(labels: Sequence[str], inches: float) -> int:
    """The largest number of legend columns that fit into `inches`."""
    for rows in range(1, len(labels)):
        columns = [labels[start : start + rows] for start in range(0, len(labels), rows)]
        widest = [max(map(len, column)) for column in columns]
        if sum(HANDLE_INCHES + LETTER_INCHES * letters for letters in widest) <= inches:
            return len(columns)
    return 1


def in_words(mixer: str, attention_window: float | None) -> str:
    """A mixer's printed name, with its attention window if the label does not contain it."""
    is_complete = pd.isna(attention_window) or "window=" in mixer
    return title(mixer) if is_complete else f"{title(mixer)}, window {attention_window:.0f}"


def draw_chance(ax: Axes, chances: pd.Series) -> None:
    """Draw a line at chance level."""
    for chance in chances.unique():
        ax.axhline(chance, **CHANCE)


def absent(ax: Axes) -> None:
    """Write "no results" into a panel."""
    ax.text(0.5, 0.5, "no results", transform=ax.transAxes, ha="center", va="center", color=GREY)
