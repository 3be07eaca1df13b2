"""The tables and figures of a probe."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from recollect.reports.probe_figures import (
    copy_figure,
    distance_figure,
    mqar_figure,
    needle_figure,
    phonebook_figure,
    repetition_figure,
)
from recollect.reports.probe_tables import (
    readable_copy,
    readable_distance,
    readable_mqar,
    readable_needles,
    readable_phonebook,
    readable_repetition,
)
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


def phonebook():
    return pd.DataFrame([{"entries": n} | COUNTS | SHARE for n in (10, 20)])


def needles():
    rows = [{"kind": k, "filler": n} for k in ("s-niah-1", "mk-niah-1") for n in (100, 400)]
    return pd.DataFrame([row | COUNTS | SHARE for row in rows])


def repetition():
    score = {"first_loss": 9.5, "loss": 2.25, "score": 7.25, "score_low": 7.0, "score_high": 7.5}
    return pd.DataFrame([{"length": n} | COUNTS | SHARE | score for n in (25, 50)])


def test_tables():
    headings, rows = readable_mqar(mqar().head(1))
    assert headings[:3] == ["pairs", "words between", "accuracy (95 % interval)"]
    assert rows == [["2", "0", "0.500 (0.400 to 0.700)", "0.250", "2,000", "1,234"]]
    headings, rows = readable_distance(distance())
    assert headings == ["distance to the pair (tokens)", "2 pairs", "16 pairs"]
    share = "0.500 (0.400 to 0.700)"
    assert rows == [["8 to 15", share, share], ["64 to 127", "-", share]]
    _, rows = readable_copy(copy().head(1))
    assert rows == [["4", share, "0.250", "0.000 (0.000 to 0.100)", "1,000", "1,234"]]


def test_tables_of_repetition_phone_book_and_needles():
    share = "0.500 (0.400 to 0.700)"
    _, rows = readable_phonebook(phonebook().head(1))
    assert rows == [["10", share, "0.250", "1,000", "1,234"]]
    _, rows = readable_needles(needles().head(1))
    assert rows == [["s-niah-1", "100", share, "0.250", "1,000", "1,234"]]
    one = repetition().head(1)
    headings, rows = readable_repetition(one)
    assert headings[1] == "score, nats per word (95 % interval)"
    assert rows[0][:5] == ["25", "7.250 (7.000 to 7.500)", "9.500", "2.250", share]
    _, rows = readable_repetition(one.assign(score_low=np.nan, score_high=np.nan))
    assert rows[0][1] == "7.250 (-)"


def test_the_figure_of_repetition(tmp_path):
    accuracy, score = repetition_figure(repetition()).axes
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), [0.5, 0.5])
    np.testing.assert_array_equal(score.lines[0].get_ydata(), [7.25, 7.25])
    (bars,) = score.collections
    assert [each[:, 1].tolist() for each in bars.get_segments()] == [[7.0, 7.5]] * 2
    save(repetition_figure(repetition().assign(score_low=np.nan)), tmp_path / "a.png")


@pytest.mark.parametrize(
    ("figure", "x", "names"),
    [
        (mqar_figure(mqar()), [2, 16], ["0 words between", "64 words between"]),
        (distance_figure(distance()), [8, 64], ["2 pairs", "16 pairs"]),
        (copy_figure(copy()), [4, 8, 32], ["words", "whole strings"]),
        (phonebook_figure(phonebook()), [10, 20], ["phone book"]),
        (needle_figure(needles()), [100, 400], ["s-niah-1", "mk-niah-1"]),
    ],
)
def test_figures(figure, x, names, tmp_path):
    (ax,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*names, "chance"]
    assert ax.get_xticks().tolist() == x
    *_, shares, chance = ax.lines
    np.testing.assert_array_equal(shares.get_xdata(), x)
    np.testing.assert_array_equal(chance.get_xdata(), x)
    assert shares.get_color() == chance.get_color()
    save(figure, tmp_path / "a.png")
    assert matplotlib.image.imread(tmp_path / "a.png")[..., :3].std() > 0.03


def test_bars_are_the_interval():
    (ax,) = mqar_figure(mqar()[mqar()["pairs"] == 2]).axes
    assert len(ax.collections) == 2
    for bars in ax.collections:
        assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[0.4, 0.7]]
