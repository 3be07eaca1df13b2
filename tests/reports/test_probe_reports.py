"""The tables and figures of a probe."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from recollect.reports.probe_figures import copy_figure, distance_figure, mqar_figure
from recollect.reports.probe_tables import readable_copy, readable_distance, readable_mqar
from recollect.reports.style import save

SHARE = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.7, "chance": 0.25}
COUNTS = {"prompts": 1000, "answers": 2000, "prompt_tokens": 1234}


def mqar():
    rows = [{"pairs": p, "distance": d} for p in (2, 16) for d in (0, 64)]
    return pd.DataFrame([row | COUNTS | SHARE | {"accuracy": 1 / row["pairs"]} for row in rows])


def distance():
    rows = [{"pairs": p, "low": low, "high": 2 * low - 1} for p, low in [(2, 8), (16, 8), (16, 64)]]
    return pd.DataFrame([row | COUNTS | SHARE for row in rows])


def copy():
    strings = {"strings": 0.0, "strings_low": 0.0, "strings_high": 0.1, "strings_chance": 1e-9}
    return pd.DataFrame([{"words": w} | COUNTS | SHARE | strings for w in (4, 8, 32)])


def test_tables():
    headings, rows = readable_mqar(mqar().head(1))
    assert headings[:3] == ["pairs", "words between", "accuracy (95 % interval)"]
    assert rows == [["2", "0", "0.500 (0.400 to 0.700)", "0.250", "2,000", "1,234"]]
    headings, rows = readable_distance(distance())
    assert headings == ["tokens back to the pair", "2 pairs", "16 pairs"]
    share = "0.500 (0.400 to 0.700)"
    assert rows == [["8 to 15", share, share], ["64 to 127", "-", share]]
    _, rows = readable_copy(copy().head(1))
    assert rows == [["4", share, "0.250", "0.000 (0.000 to 0.100)", "1,000", "1,234"]]


@pytest.mark.parametrize(
    ("figure", "x", "names"),
    [
        (mqar_figure(mqar()), [2, 16], ["0 words between", "64 words between"]),
        (distance_figure(distance()), [8, 64], ["2 pairs", "16 pairs"]),
        (copy_figure(copy()), [4, 8, 32], ["words", "whole strings"]),
    ],
)
def test_figures(figure, x, names, tmp_path):
    (ax,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*names, "guessing"]
    assert ax.get_xticks().tolist() == x
    *_, shares, chance = ax.lines
    np.testing.assert_array_equal(shares.get_xdata(), x)
    np.testing.assert_array_equal(chance.get_xdata(), x)
    assert shares.get_color() == chance.get_color()
    save(figure, tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png")[..., :3].std() > 0.03


def test_bars_are_the_interval():
    (ax,) = mqar_figure(mqar()[mqar()["pairs"] == 2]).axes
    for bars in ax.collections:
        assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[0.4, 0.7]]
