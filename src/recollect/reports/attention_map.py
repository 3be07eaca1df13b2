"""Where the layers of trained models look: their token-mixing matrices as pictures."""

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
"""Inches that the tokens take beside or below a matrix, and a line of its title above."""
SHADES = PowerNorm(0.5, vmin=0, vmax=1)
"""Weights are shaded by their root, or a wide look could not be seen."""
SMALLEST, LARGEST = 2.5, 6.0
"""Sizes of a token that is written beside an axis, in points."""
MARKS: dict[str, dict[str, Any]] = {
    "key of the query": {"marker": "s", "color": "#0072B2"},
    "what followed it": {"marker": "o", "color": "#D55E00"},
}
BAR: dict[str, Any] = {"location": "bottom", "shrink": 0.4, "aspect": 40}
HOLLOW: dict[str, Any] = {"linestyle": "", "markerfacecolor": "none", "markeredgewidth": 0.8}


def attention_map_figure(trials: pd.DataFrame, maps: Mapping[str, AttentionMap]) -> Figure:
    """A matrix for each layer of each trained model: how much the mixer's output at a token (down)
    depends on its input at each token up to it (across).

    Where a model must answer, squares mark the last earlier occurrence of what is asked for, and
    circles what followed it: the answer, in tasks of pairs.

    Args:
        trials: one row for each model (`results.TRIAL_COLUMNS`).
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
    """Mark queries, keys and answers, and write their tokens at the axes; all tokens, where there
    is room."""
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
