"""`recollect report`, and `Results.report`; what the page holds is tested in tests/reports."""

import re
from http.server import ThreadingHTTPServer

import pytest
from typed import typed

import recollect as rc
from recollect.reports.page import document


@pytest.fixture(autouse=True)
def _without_library(monkeypatch):
    """It takes seconds to put together."""
    monkeypatch.setattr(document, "_library", str)


def test_a_page_is_written_from_the_command_line_and_from_python(stored, tmp_path):
    typed_page, made_page = tmp_path / "typed.html", tmp_path / "made.html"
    answer = typed("report", "tiny", "--store", stored, "--out", typed_page)
    assert (answer.code, answer.err) == (0, f"wrote {typed_page}\n")
    rc.results("tiny", store=stored).report(made_page)
    for page in (typed_page, made_page):
        text = page.read_text("utf-8")
        assert "4 cells, all finished, from 16 trials." in text
        assert f"recollect show tiny --store {stored} --trials" in text
    latest = tmp_path / "latest.html"
    typed("report", "--store", stored, "--out", latest)
    assert latest.read_bytes() == typed_page.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--serve", "--out", "a.html"], "--serve writes no file"),
        (["--port", 80], "--port 80 is for --serve"),
        (["other"], "unknown study"),
    ],
)
def test_what_does_not_go_together_is_refused(stored, words, said):
    answer = typed("report", "--store", stored, *words)
    assert answer.code == 2
    assert said in answer.err


def test_the_page_is_served_until_ctrl_c(stored, monkeypatch):
    def ctrl_c(_server):
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", ctrl_c)
    answer = typed("report", "--store", stored, "--serve")
    assert answer.code == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ shows tiny; Ctrl-C ends it\n", answer.out)
