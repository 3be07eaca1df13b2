"""The table and the figures of language models on a text."""

import math

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from recollect.papers.reproduction import PrintedModel
from recollect.reports.language_figures import curve_figure, hits_figure, places, slice_figure
from recollect.reports.language_tables import beside_printed, readable_curve, readable_gap
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


@pytest.mark.parametrize(("by", "among"), [("distance", "hits"), ("position", "other")])
def test_the_bound_on_hits_is_printed_where_it_is_no_place(by, among):
    figure = slice_figure(slices(), by, among, max_train_count=10)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["Attention", "mine", "AR hits: seen at most 10 times"]


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


def ends(name, value, reach):
    return {name: value, f"{name}_low": value - reach, f"{name}_high": value + reach}


@pytest.fixture
def gap():
    row = {"max_train_count": 1250, "tokens": 10_000, "seeds": 1, **ends("hit_share", 0.064, 0.01)}
    for name, value in {"": 2.4, "_hits": 0.77, "_other": 2.52}.items():
        row |= ends(f"log_perplexity{name}", value, 0.1)
        row[f"perplexity{name}"] = math.exp(value)
    nan = ends("gap_share", math.nan, 0)
    rows = [
        row | {"model": "attention", "gap_share_clipped": math.nan} | ends("gap", 0.0, 0) | nan,
        row
        | {"model": "hyena", "seeds": 3, "gap_share_clipped": 1.0}
        | ends("gap", 0.2, 0.1)
        | ends("gap_share", 1.1, 0.2),
        row
        | {"model": "h3", "gap_share_clipped": 0.5}
        | ends("gap", 0.2, 0.1)
        | ends("gap_share", 0.5, 0.2)
        | {"perplexity_hits": math.nan, "log_perplexity_hits": math.nan},
    ]
    return pd.DataFrame(rows).astype({"max_train_count": "Int64"})


def test_the_table_has_the_unclipped_share_first(gap):
    headings, rows = readable_gap(gap)
    table = [dict(zip(headings, row, strict=True)) for row in rows]
    share = "gap due to AR hits (nominal 95 % interval)"
    assert [row[share] for row in table] == [
        "-",
        "110.0 % (90.0 % to 130.0 %), clipped 100.0 %",
        "50.0 % (30.0 % to 70.0 %)",
    ]
    assert table[0]["perplexity (log)"] == "11.02 (2.40)"
    assert table[0]["AR hits"] == "6.4 %"
    assert table[2]["on AR hits (log)"] == "-"
    assert [row["seeds"] for row in table] == ["1", "3", "1"]


@pytest.mark.parametrize(
    ("value", "reach", "text"),
    [
        (-0.0123, 0.001, "no gap: better by 0.012 (log)"),
        (0.0, 0.1, "no gap"),
        (0.1, 0.3, "gap not certain: 0.1 (-0.2 to 0.4) (log)"),
        (-0.1, 0.3, "gap not certain: -0.1 (-0.4 to 0.2) (log)"),
        (-0.1, math.nan, "too few documents for a share"),
        (0.1, math.nan, "too few documents for a share"),
    ],
)
def test_where_there_is_no_share_the_reason_stands(gap, value, reach, text):
    for name, number in (ends("gap", value, reach) | ends("gap_share", math.nan, 0)).items():
        gap.loc[1, name] = number
    assert [row[-1] for row in readable_gap(gap)[1]] == ["-", text, "50.0 % (30.0 % to 70.0 %)"]


def over_bounds(gap, bounds=(0, 5, 1250, None)):
    """The rows at several bounds; at the first no hits, at the last more than all of the gap."""
    parts = []
    for i, bound in enumerate(bounds):
        part = gap.assign(max_train_count=bound, hit_share=0.1 * i)
        for name in ("gap_share", "gap_share_low", "gap_share_high"):
            part[name] *= i if i else math.nan
        parts.append(part.astype({"max_train_count": "Int64"}))
    return pd.concat(parts, ignore_index=True)


def test_the_shares_over_the_bound(gap):
    headings, rows = readable_curve(over_bounds(gap))
    assert headings == ["max. training count", "AR hits", "Hyena", "H3"]
    assert rows == [
        ["0", "0.0 %", "-", "-"],
        ["5", "10.0 %", "110.0 % (90.0 % to 130.0 %)", "50.0 % (30.0 % to 70.0 %)"],
        ["1,250", "20.0 %", "220.0 % (180.0 % to 260.0 %)", "100.0 % (60.0 % to 140.0 %)"],
        ["any", "30.0 %", "330.0 % (270.0 % to 390.0 %)", "150.0 % (90.0 % to 210.0 %)"],
    ]


def test_a_line_and_a_band_for_each_model_over_the_bound(gap, tmp_path):
    figure = curve_figure(over_bounds(gap))
    upper, lower = figure.axes
    hyena, h3 = upper.lines[:2]
    np.testing.assert_allclose(hyena.get_ydata(), [math.nan, 110, 220, 330])
    np.testing.assert_allclose(h3.get_ydata(), [math.nan, 50, 100, 150])
    assert len(upper.collections) == 2
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], [0, 10, 20, 30])
    assert [label.get_text() for label in lower.get_xticklabels()] == ["5", "any"]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["Hyena", "H3", "nominal 95 % interval", "6.4 % of the tokens"]
    save(figure, tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png")[..., :3].std() > 0.05


def test_each_model_stands_beside_the_largest_that_is_printed(gap):
    rows = gap.assign(parameters=594_432, learning_rate=4e-3, at_edge=[False, True, False])
    printed = [
        PrintedModel("hyena", 358, (10.07, 2.31), (3.83, 1.34), (10.75, 2.38), 0.982),
        PrintedModel("hyena", 158, (11.60, 2.45), (5.00, 1.61), (12.28, 2.51), 1.0),
        PrintedModel("attention", 360, (9.44, 2.25), (1.98, 0.69), (10.62, 2.36)),
    ]
    headings, found = beside_printed(rows, printed)
    attention, hyena, h3 = (dict(zip(headings, row, strict=True)) for row in found)
    assert hyena["printed: on AR hits (log)"] == "3.83 (1.34)"
    assert hyena["printed: gap due to AR hits"] == "98.2 %"
    assert attention["printed: gap due to AR hits"] == "-"
    assert {text for name, text in h3.items() if name.startswith("printed")} == {"-"}
    assert [row["learning rate"] for row in (attention, hyena, h3)] == ["4e-3", "4e-3*", "4e-3"]
    assert (hyena["model"], hyena["seeds"], hyena["parameters"]) == ("Hyena", "3", "594,432")


def test_a_point_for_each_model_with_its_interval(gap):
    for name in ("log_perplexity_hits", "log_perplexity_other"):
        gap[f"{name}_high"] = gap[name] + 0.2
    figure = hits_figure(gap)
    (ax,) = figure.axes
    points = [line for line in ax.lines if line.get_marker() not in ("None", "")]
    assert [line.get_xydata()[0].tolist() for line in points][:2] == [[2.52, 0.77]] * 2
    bars = [segment for bar in ax.collections for segment in bar.get_segments()]
    assert any(np.allclose(bar, [[2.42, 0.77], [2.72, 0.77]]) for bar in bars)
    marks = [line for line in ax.lines if line.get_marker() == "None"]
    assert {tuple(line.get_xdata()) for line in marks} == {(2.52, 2.52), (0, 1)}
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-2:] == ["level of Attention", "nominal 95 % interval"]
    figure.draw_without_rendering()


def test_the_legend_names_no_intervals_where_there_are_none(gap):
    ends = [f"log_perplexity_{name}_{end}" for name in ("hits", "other") for end in ("low", "high")]
    figure = hits_figure(gap.assign(**dict.fromkeys(ends, math.nan)))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-1] == "level of Attention"


def test_the_panels_keep_their_height_under_a_long_legend():
    few, many = (
        slice_figure(
            slices([f"model-of-some-name-{i}" for i in range(n)]), "train_count", "repeated"
        )
        for n in (2, 12)
    )
    heights = []
    for figure in (few, many):
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_position().height * figure.get_figheight())
    assert heights[1] > 0.9 * heights[0]
