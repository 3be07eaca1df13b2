"""The table and the figures of language models on a text."""

import math

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from recollect.reports.language_figures import places, slice_figure
from recollect.reports.language_tables import readable_gap
from recollect.reports.style import save

LOWS = [0, 1, 2, 4, 1024, 2048]


def slices(models=("attention", "mine"), by="train_count", among="repeated"):
    rows = [
        {
            "by": by,
            "among": among,
            "low": low,
            "high": max(2 * low - 1, 0),
            "tokens": 10 * (1 + i),
            "model": model,
            "log_perplexity": 1.0 + i,
            "perplexity": math.exp(1.0 + i),
        }
        for i, low in enumerate(LOWS)
        for model in models
    ]
    return pd.DataFrame(rows)


def test_a_line_for_each_model_and_a_bar_for_each_range(tmp_path):
    frame = slices()
    frame.loc[frame["model"] == "mine", "perplexity"] *= 2
    figure = slice_figure(frame, "train_count", "repeated", max_train_count=1250)
    upper, lower = figure.axes
    first, second, mark = upper.lines
    assert list(first.get_xdata()) == [0, 1, 2, 3, 11, 12]
    np.testing.assert_allclose(2 * first.get_ydata(), second.get_ydata())
    assert [bar.get_height() for bar in lower.patches] == [10, 20, 30, 40, 50, 60]
    assert 10.5 < mark.get_xdata()[0] < 11, "within the range of 1,024 to 2,047"
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "log")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["Attention", "mine", "seen 1,250 times"]
    assert "AR hits" not in upper.get_ylabel()
    save(figure, tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png")[..., :3].std() > 0.05


def test_a_mark_between_two_ranges_stands_between_them():
    mark = slice_figure(slices(), "train_count", "repeated", max_train_count=1023).axes[0].lines[2]
    assert mark.get_xdata()[0] == 10.5
    assert places(pd.Series([512, 1024])).tolist() == [10, 11]


def test_long_axes_are_labelled_here_and_there():
    rows = slices(["mine"])
    long = pd.concat([rows.assign(low=2**i) for i in range(30)]).drop_duplicates("low")
    lower = slice_figure(long, "train_count", "repeated").axes[1]
    labels = [label.get_text() for label in lower.get_xticklabels()]
    assert labels[0] == "1"
    assert 5 <= len(labels) <= 8


def test_nothing_to_draw():
    figure = slice_figure(slices(), "distance", "hits")
    assert [text.get_text() for text in figure.axes[0].texts] == ["no results"]


@pytest.fixture
def gap():
    row = {"max_train_count": 1250, "tokens": 10_000, "hit_share": 0.064}
    for name, value in {"": 2.4, "_hits": 0.77, "_other": 2.52}.items():
        row |= {f"log_perplexity{name}": value, f"perplexity{name}": math.exp(value)}
    undefined = dict.fromkeys(["gap_share", "gap_share_low", "gap_share_high"], math.nan)
    shares = {"gap_share": 1.1, "gap_share_low": 0.9, "gap_share_high": 1.234}
    return pd.DataFrame(
        [
            row | {"model": "attention", "gap_share_clipped": math.nan} | undefined,
            row | {"model": "hyena", "gap_share_clipped": 1.0} | shares,
            row
            | {"model": "h3", "gap_share_clipped": 0.5, "perplexity_hits": math.nan}
            | shares
            | {"gap_share": 0.5, "log_perplexity_hits": math.nan},
        ]
    )


def test_the_table_is_that_of_the_paper_with_what_was_clipped(gap):
    headings, rows = readable_gap(gap)
    table = [dict(zip(headings, row, strict=True)) for row in rows]
    share = "gap due to AR hits (95 % interval)"
    assert [row[share] for row in table] == [
        "-",
        "100.0 %, unclipped 110.0 % (90.0 % to 123.4 %)",
        "50.0 % (90.0 % to 123.4 %)",
    ]
    assert table[0]["perplexity (log)"] == "11.02 (2.40)"
    assert table[0]["AR hits"] == "6.4 %"
    assert table[2]["on AR hits (log)"] == "-"


def test_a_single_document_has_no_interval_to_print(gap):
    _, rows = readable_gap(gap.drop(columns=["gap_share_low", "gap_share_high"]))
    assert rows[2][-1] == "50.0 %"
