"""Figure of the token-mixing matrices of trained models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recollect.analysis.attention_map import AttentionMap
from recollect.reports.canvas import Axes, Figure, Line2D, PowerNorm, drawing
from recollect.reports.panels import cell_title, named, place_legend
from recollect.reports.style import PAGE

FEWEST, MOST = 2, 4
"""Matrices side by side."""
TOKENS, LINE = 0.7, 0.15
"""Inches for the token labels beside or below a matrix, and for one line of its title."""
SHADES = PowerNorm(0.5, vmin=0, vmax=1)
"""The shade is the square root of a weight, so that small weights stay visible."""
SMALLEST, LARGEST = 2.5, 6.0
"""Font sizes of token labels, in points."""
MARKS: dict[str, dict[str, Any]] = {
    "key of the query": {"marker": "s", "color": "#0072B2"},
    "what followed it": {"marker": "o", "color": "#D55E00"},
}
BAR: dict[str, Any] = {"location": "bottom", "shrink": 0.4, "aspect": 40}
HOLLOW: dict[str, Any] = {"linestyle": "", "markerfacecolor": "none", "markeredgewidth": 0.8}


def attention_map_figure(trials: pd.DataFrame, maps: Mapping[str, AttentionMap]) -> Figure:
    """Draw one matrix per layer of each trained model.

    An entry says how much the mixer's output at a token (row) depends on its input at an earlier
    token (column). In the rows of queries, a square marks the last earlier occurrence of the
    queried key, and a circle the token after it, which is the answer in key-value tasks.

    Args:
        trials: one row per model (`results.TRIAL_COLUMNS`).
        maps: the matrices, by the key of the trial.
    """
    models: Any = named(trials).itertuples()
    looks = [(model, layer) for model in models for layer in range(model.n_layers)]
    longest = max(len(each.tokens) for each in maps.values())
    fitting = int(72 * PAGE / (SMALLEST * longest + 72 * TOKENS))
    columns = min(max(fitting, FEWEST), MOST, max(len(looks), FEWEST))
    rows, side = -(-len(looks) // columns), PAGE / columns - TOKENS
    titles = [_title(model, layer, trials) for model, layer in looks]
    height = side + TOKENS + LINE * (1 + max(title.count("\n") for title in titles))
    with drawing():
        figure = Figure(figsize=(PAGE, rows * height + 1.0), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax, (model, layer), title in zip(axes.flat, looks, titles, strict=False):
            image = ax.imshow(maps[model.key].matrices[layer].numpy(), cmap="Greys", norm=SHADES)
            _mark(ax, maps[model.key], side)
            ax.set_title(title)
        for ax in axes.flat[len(looks) :]:
            ax.set_axis_off()
        figure.colorbar(image, ax=list(axes[-1]), label="share of the output's change", **BAR)
        handles = [Line2D([], [], label=name, **HOLLOW, **look) for name, look in MARKS.items()]
        place_legend(figure, handles)
    return figure


def _title(model: Any, layer: int, trials: pd.DataFrame) -> str:
    title = cell_title(model, trials)
    return title if model.n_layers == 1 else f"{title}\nlayer {layer + 1}"


def _mark(ax: Axes, each: AttentionMap, side: float) -> None:
    """Mark keys and answers in the rows of queries, and label the axes with tokens.

    All tokens are labelled if there is room, else only queries, keys and answers.
    """
    ax.grid(visible=False)
    queries, keys = each.queries.tolist(), each.keys.tolist()
    known = [(query, key) for query, key in zip(queries, keys, strict=True) if key >= 0]
    pitch = 72 * side / len(each.tokens)
    for look, shift in zip(MARKS.values(), (0, 1), strict=True):
        places = [(key + shift, query) for query, key in known if key + shift < query]
        if places:
            size = min(max(pitch, 2), 6)
            ax.plot(*zip(*places, strict=True), **HOLLOW, **look, markersize=size)
    if pitch < SMALLEST:
        return
    everything = range(len(each.tokens)) if pitch >= LARGEST - 1 else None
    looked_at = sorted({place for _, key in known for place in (key, key + 1)})
    _write(ax.xaxis, each.tokens, everything or looked_at, pitch, rotation=90)
    _write(ax.yaxis, each.tokens, everything or queries, pitch)


def _write(
    axis: Any, tokens: Sequence[str], places: Sequence[int], pitch: float, rotation: int = 0
) -> None:
    size = min(0.9 * pitch, LARGEST)
    axis.set_ticks(places, [tokens[place] for place in places], fontsize=size, rotation=rotation)
