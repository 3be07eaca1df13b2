"""Tables keep their values, and are readable."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from made_frames import make_frames, with_diverged, with_unlearnt

from recollect.errors import UserError
from recollect.files import check_folder, replacing
from recollect.reports import tables, trial_tables
from recollect.studies.learnt import not_learnt, rates_text


@pytest.fixture
def cells() -> pd.DataFrame:
    return make_frames(["attention", "mamba(d_conv=0)"]).cells


def test_headings_and_values(cells):
    cells.loc[0, "at_edge"] = True
    headings, rows = tables.readable(cells)
    assert headings == [
        "task",
        "mixer",
        "layers",
        "d_model",
        "learning rate",
        "rates tried",
        "window (decades)",
        "test accuracy (range over seeds)",
        "seeds",
        "parameters",
        "steps",
    ]
    assert rows[0] == [
        "mqar-64x4",
        "attention",
        "2",
        "64",
        "1e-3*",
        "1e-4 to 1e-2",
        ">=1.0",
        "0.500 (0.450–0.550)",
        "2",
        "524,288",
        "200",
    ]


def test_what_differs_has_a_column(cells):
    cells.loc[0, "recipe"] = "mlp=gelu"
    cells["test_accuracy[mqar-128x8]"] = 0.25
    headings, rows = tables.readable(cells)
    assert rows[0][headings.index("recipe")] == "mlp=gelu"
    assert rows[1][headings.index("recipe")] == "default"
    assert rows[0][headings.index("test accuracy[mqar-128x8]")] == "0.250"


def test_chance_levels_that_differ_have_a_column(cells):
    assert "Chance level 0.250." in tables.latex(cells, study="made")
    assert tables.common_chance(cells.assign(chance=1 / 8192)) == ["chance level 0.00012"]
    assert (
        "further tests may have another"
        in tables.common_chance(cells.assign(**{"test_accuracy[longer]": 0.5}))[0]
    )
    cells.loc[0, "chance"] = 0.5
    headings, rows = tables.readable(cells)
    assert [row[headings.index("chance")] for row in rows] == ["0.500"] + ["0.250"] * 3
    for columns in (None, ["mixer", "test accuracy"]):
        assert "Chance level" not in tables.latex(cells, study="made", columns=columns)


def test_what_is_not_known_is_a_dash(cells):
    names = ("learning_rate", "lowest_rate", "highest_rate", "window", "at_edge", "learnt")
    for name in (*names, "test_accuracy", "seeds", "parameters", "steps"):
        cells[name] = cells[name].astype(object)
        cells.loc[0, name] = None
    _, rows = tables.readable(cells)
    assert rows[0][4:] == ["-"] * 7


@pytest.mark.parametrize("learnt", [False, np.False_])
def test_what_has_not_learnt_is_reported_in_words(cells, learnt):
    cells["learnt"] = [learnt, True, None, True]
    cells["test_accuracy[longer]"] = 0.25
    headings, rows = tables.readable(cells)
    accuracies = [row[headings.index("test accuracy (range over seeds)")] for row in rows]
    assert accuracies[0] == "not learnt in 2,000 steps at rates 1e-4 to 1e-2 (0.500)"
    assert not any("not" in text for text in accuracies[1:])
    assert [row[-1] for row in rows] == ["(0.250)", "0.250", "0.250", "0.250"]
    cells.loc[0, "test_accuracy"] = np.nan
    assert "not learnt" not in str(tables.readable(cells)[1]), "there is no result yet"


def test_a_single_rate_is_no_range():
    assert rates_text(1e-3, 1e-3) == "1e-3"
    assert not_learnt(400, 1e-3, 1e-3, 0, 2) == "not learnt in 400 steps at rate 1e-3"


def test_seeds_of_the_search_that_had_learnt_are_counted(cells):
    cells["learnt"], cells["learnt_searching"] = False, 1
    assert "to 1e-2 (left the plateau on 1 of 2 seeds of the search) (0.500)" in str(
        tables.readable(cells)[1]
    )


def test_trials_on_search_seeds_are_told_apart():
    trials = make_frames(["mamba"], widths=[64], search_seeds=[9001]).trials
    headings, rows = trial_tables.readable_trials(trials)
    seeds = [row[headings.index("seed")] for row in rows]
    assert seeds.count("9001 (search)") == 3
    assert set(seeds) == {"9001 (search)", "42", "123"}


def test_no_column_for_windows_that_were_not_measured(cells):
    cells["window"] = None
    assert "window (decades)" not in tables.readable(cells)[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (4.64e-4, "4.64e-4"), (0.1, "1e-1"), (2.2e-3, "2.2e-3"), (1.0, "1e0")],
)
def test_rates(value, text):
    assert tables.rate(value) == text
    assert float(text) == value


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1.000"), (0.9996, "0.999"), (0.25, "0.250"), (np.nan, "-")]
)
def test_an_accuracy_is_one_only_if_every_answer_was_right(value, text):
    assert tables.accuracy(value) == text


def test_a_metric_below_one_never_reads_one(cells):
    for end, value in (("", 0.9997), ("_min", 0.9996), ("_max", 1.0)):
        cells[f"test_recalled{end}"] = value
    headings, rows = tables.readable(cells)
    assert rows[0][headings.index("test recalled (range over seeds)")] == "0.999 (0.999–1)"


def test_csv_and_parquet_keep_every_value(cells, tmp_path):
    cells.loc[0, "test_accuracy"] = 1 / 3
    tables.write_csv(cells, tmp_path / "new" / "t.csv")
    tables.write_parquet(cells, tmp_path / "t.parquet")
    missing = {"attention_window": [""]}
    read = pd.read_csv(tmp_path / "new" / "t.csv", keep_default_na=False, na_values=missing)
    pd.testing.assert_frame_equal(read, cells, check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), cells)


def test_parquet_without_pyarrow_names_the_extra(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"'\.\[parquet\]'"):
        tables.write_parquet(cells, tmp_path / "t.parquet")
    assert not list(tmp_path.iterdir())


def test_records_are_plain_values(cells):
    cells.loc[0, "learning_rate"] = np.nan
    first, second = tables.records(cells)[:2]
    assert first["learning_rate"] is None
    assert second["learning_rate"] == 1e-3
    assert second.pop("attention_window") is None
    assert {type(value) for value in second.values()} == {str, int, float, bool}


def test_latex(cells, tmp_path):
    cells.loc[0, "mixer"] = r"A&B_%$#{}~^\<"
    cells.loc[0, "at_edge"] = True
    tables.write_latex(cells, tmp_path / "t.tex", study="mine")
    head, *lines = (tmp_path / "t.tex").read_text().partition(r"\begin{tabular}")[::2]
    assert head.splitlines()[1:3] == [r"\begin{table}", r"\centering"]
    assert r"\caption{mine: Test accuracy at the learning rate with the best validation" in head
    assert "mean over 2 seeds" in head
    assert "* The rate ties with the lowest or highest" in head
    assert r"reach 90 \% of the accuracy" in head
    assert "its edges are interpolated between tried rates" in head
    assert "not learnt" not in head
    assert r"\label{tab:mine}" in head
    lines = lines[0].splitlines()
    assert lines[0] == "{llrrrrrrrrr}"
    assert [lines[1], lines[3]] == [r"\toprule", r"\midrule"]
    assert lines[-3:] == [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + len(cells)
    assert r"d\_model" in body[0]
    assert body[1].split(" & ")[1] == (
        r"A\&B\_\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}"
    )
    assert r" & 1e-4 to 1e-2 & $\geq$1.0 & 0.500 (0.450--0.550) & 2 & " in body[1]
    assert "Mamba (d\\_conv=0)" in body[3]
    for line in body:
        assert line.replace(r"\&", "").count("&") == 10
        assert line.isascii()


def test_latex_of_unlearnt_and_diverged_cells():
    made = with_diverged(with_unlearnt(make_frames(widths=[64]), "attention", 64), "mamba").cells
    made.loc[1, "seeds"] = 0
    text = tables.latex(made, study="50% {x}")
    assert "mean over 2 seeds, and lowest" in text
    assert "Where a model has not learnt, only the mean is given, in brackets." in text
    assert " & diverged & " in text
    assert r"\caption{50\% \{x\}: " in text
    assert r"\label{tab:50---x-}" in text


def test_columns_are_split_at_commas_but_not_within_a_heading(cells):
    cells["test_accuracy[a, b (c)]"] = cells["test_accuracy[a]"] = 0.25
    headings, _ = tables.readable(cells)
    named = ["test accuracy[a, b (c)]", "mixer", "test accuracy", "test accuracy[a]", "learning"]
    for comma in (",", " , "):
        assert tables.named_columns(comma.join(named), headings) == named
    assert tables.select(headings, [headings], named[:1]) == (named[:1], [named[:1]])


def test_a_table_for_a_paper_has_the_columns_that_it_is_given(cells):
    names = ["d_model", "mixer", "test accuracy"]
    text = tables.latex(cells, columns=names)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert body[0] == r"d\_model & mixer & test accuracy (range over seeds) \\"
    assert "Window" not in text
    assert r"\label" not in text
    first = tables.markdown(cells, columns=["window", "mixer"]).splitlines()[0]
    assert first == "| window (decades) | mixer |"
    with pytest.raises(UserError, match=r"unknown column 'accuracy'.*test accuracy"):
        tables.markdown(cells, columns=["accuracy"])


def test_markdown(cells, tmp_path):
    cells.loc[0, "mixer"], cells.loc[0, "at_edge"] = r"A|B_*<\ ", True
    tables.write_markdown(cells, tmp_path / "t.md")
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert len(lines) == 2 + len(cells)
    assert lines[0].startswith(r"| task | mixer | layers | d\_model |")
    assert lines[1] == "|" + " --- |" * 11
    assert lines[2].startswith(
        r"| mqar-64x4 | A\|B\_\*\<\\  | 2 | 64 | 1e-3\* | 1e-4 to 1e-2 | >=1.0 | 0.500"
    )
    assert "Mamba (d\\_conv=0)" in lines[4]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_a_user_error(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        check_folder(file / "below")
    with pytest.raises(UserError, match="cannot create the folder"), replacing(file / "t.csv"):
        pass
    check_folder(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == [file]


def test_the_window_of_attention_stands_beside_a_hybrid():
    headings, rows = tables.readable(make_frames(["griffin", "mamba"], widths=[64]).cells)
    windows = {
        row[headings.index("mixer")]: row[headings.index("attention window")] for row in rows
    }
    assert windows == {"griffin": "64", "mamba": "-"}
    assert "attention window" not in tables.readable(make_frames(["mamba"]).cells)[0]
