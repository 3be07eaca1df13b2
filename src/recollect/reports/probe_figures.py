"""Figures of a probe (`language.probe_frames`): accuracy with its interval, and chance level."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recollect.reports.canvas import Axes, Figure, Line2D, drawing
from recollect.reports.panels import accuracy_axis, fitting_columns, width_axis
from recollect.reports.style import CHANCE, COLOURS, COLUMN, MARKERS, Look

HEIGHT = 2.6
"""Height of a figure, in inches."""


def mqar_figure(mqar: pd.DataFrame) -> Figure:
    """Draw accuracy over the number of pairs, one line per distance between pairs and questions."""
    lines = {f"{distance:,} words between": rows for distance, rows in mqar.groupby("distance")}
    return _figure(lines, "pairs", "key-value pairs")


def distance_figure(distance: pd.DataFrame) -> Figure:
    """Draw accuracy over the distance to the pair in tokens, one line per number of pairs."""
    lines = {f"{pairs:,} pairs": rows for pairs, rows in distance.groupby("pairs")}
    return _figure(lines, "low", "distance to the pair (tokens, at least)")


def copy_figure(copy: pd.DataFrame) -> Figure:
    """Draw accuracy of words and of whole strings over the length of a string."""
    columns = {f"strings{end}": f"accuracy{end}" for end in ("", "_low", "_high")}
    columns["strings_chance"] = "chance"
    strings = copy[["words", *columns]].rename(columns=columns)
    return _figure({"words": copy, "whole strings": strings}, "words", "words to copy")


def repetition_figure(repetition: pd.DataFrame) -> Figure:
    """Draw accuracy on the second occurrence, and the score, over the number of repeated words."""
    look = Look(COLOURS[0], MARKERS[0])
    with drawing():
        figure = Figure(figsize=(COLUMN, 2 * HEIGHT), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        _line(above, repetition, "length", look)
        above.plot(repetition["length"], repetition["chance"], **CHANCE | {"color": look.colour})
        accuracy_axis(above)
        above.set_ylabel("accuracy")
        _line(below, repetition, "length", look, "score")
        below.axhline(0, **CHANCE)
        below.set_ylabel("score (nats per word)")
        width_axis(below, sorted(repetition["length"]))
        below.set_xlabel("words to repeat")
        handles = [Line2D([], [], label="second occurrence", **look.line())]
        _legend(figure, [*handles, Line2D([], [], label="chance", **CHANCE)])
    return figure


def phonebook_figure(phonebook: pd.DataFrame) -> Figure:
    """Draw accuracy over the number of entries of the phone book."""
    return _figure({"phone book": phonebook}, "entries", "entries of the phone book")


def needle_figure(needles: pd.DataFrame) -> Figure:
    """Draw accuracy over the number of words of filler, one line per task."""
    lines = {str(kind): rows for kind, rows in needles.groupby("kind", sort=False)}
    return _figure(lines, "filler", "words of filler")


def _figure(lines: dict[str, pd.DataFrame], x: str, label: str) -> Figure:
    """Draw a line with bars for each frame, and a thin line of the same colour at chance level."""
    looks = [Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i in range(len(lines))]
    with drawing():
        figure = Figure(figsize=(COLUMN, HEIGHT), layout="constrained")
        ax = figure.subplots()
        for rows, look in zip(lines.values(), looks, strict=True):
            _line(ax, rows, x, look)
            ax.plot(rows[x], rows["chance"], **CHANCE | {"color": look.colour})
        accuracy_axis(ax)
        ax.set_ylabel("accuracy")
        width_axis(ax, sorted({int(place) for rows in lines.values() for place in rows[x]}))
        ax.set_xlabel(label)
        handles = [
            Line2D([], [], label=name, **look.line())
            for name, look in zip(lines, looks, strict=True)
        ]
        handles.append(Line2D([], [], label="chance", **CHANCE))
        _legend(figure, handles)
    return figure


def _line(ax: Axes, rows: pd.DataFrame, x: str, look: Look, y: str = "accuracy") -> None:
    low = (rows[y] - rows[f"{y}_low"]).clip(lower=0)
    high = (rows[f"{y}_high"] - rows[y]).clip(lower=0)
    ax.errorbar(rows[x], rows[y], yerr=[low, high], elinewidth=0.8, **look.line())


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    columns = fitting_columns([str(each.get_label()) for each in handles], COLUMN)
    figure.legend(handles=list(handles), loc="outside upper center", ncols=columns)
