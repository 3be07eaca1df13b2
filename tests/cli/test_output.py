"""What commands print."""

import io
import json
import math

import pytest
from rich.console import Console

from recollect.cli import output
from recollect.cli.output import print_json, print_table, progress_bars


def test_what_is_not_a_number_is_null(capsys):
    print_json({"a": [math.nan, 1.5, {"b": math.inf}], "c": (True, "NaN", None, -math.inf)})
    assert json.loads(capsys.readouterr().out) == {
        "a": [None, 1.5, {"b": None}],
        "c": [True, "NaN", None, None],
    }


HEADINGS = ["task", "mixer", "test accuracy", "seeds", "steps"]
ROWS = [
    ["mqar-64x4", "attention", "0.950 (0.900–0.990)", "5", "2,000"],
    ["mqar-64x4", "hyena", "not learnt in 2,000 steps at rates 1e-4 to 1e-1 (0.031)", "5", "2,000"],
]


@pytest.mark.parametrize("width", [35, 80])
def test_a_narrow_table_says_once_what_is_alike_in_all_rows(width, capsys, monkeypatch):
    monkeypatch.setattr(output, "LOG_WIDTH", width)
    print_table(HEADINGS, ROWS)
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= width
    is_narrow = width == 35
    alike = "in all rows: task mqar-64x4; seeds 5; steps 2,000"
    assert (alike in " ".join(out.split())) is is_narrow
    assert out.count("mqar-64x4") == (1 if is_narrow else 2)
    for words in ("(0.900–0.990)", "not learnt", "(0.031)"):
        assert words in out


def test_a_table_of_one_row_keeps_its_columns(capsys, monkeypatch):
    monkeypatch.setattr(output, "LOG_WIDTH", 20)
    print_table(HEADINGS, ROWS[:1])
    assert "in all rows" not in capsys.readouterr().out


def test_names_in_brackets_are_no_markup(capsys, monkeypatch):
    print_table(["test accuracy[mqar-64x4]"], [["[red]0.9[/]"]])
    assert {"accuracy[mqar-64x4]", "[red]0.9[/]"} <= set(capsys.readouterr().out.split())
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(output, "console", lambda **_: screen)
    with progress_bars() as show:
        show("losses of [bold]mine[/].txt", 1, 2)
    assert "losses of [bold]mine[/].txt" in screen.file.getvalue()
