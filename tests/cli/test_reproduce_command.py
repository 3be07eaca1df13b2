"""`recollect reproduce`."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import matplotlib.image
import pytest
from typed import typed

import forked
from recollect.papers.reproduction import REPRODUCTIONS
from recollect.reports.page import document
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store
from recollect.training.device import processor_name

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("tiny_reproduction.py")
HERE = ["--on", "population", "--device", "cpu"]


def ran(folder: Path, *words: str) -> CompletedProcess:
    done = forked.run(PROGRAM, "reproduce", *words, folder=folder)
    done.check_returncode()
    return done


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The tiny reproduction, run."""
    folder = tmp_path_factory.mktemp("reproduced")
    return folder, ran(folder, "tiny", "--store", "s.db", "--out", "out", *HERE)


def test_a_run_ends_with_the_claims(first):
    _, answer = first
    rows = [line for line in answer.stdout.splitlines() if line.startswith("tiny")]
    assert len(rows) == 4
    assert "undecided" in rows[0]
    assert "not run" in rows[1]
    assert "no cell with mamba" in answer.stdout
    assert "a longer budget" in answer.stdout
    tally = answer.stdout.splitlines()[-1]
    assert tally == "0 reproduced, 0 contradicted, 3 undecided, 1 not run"


def test_progress_is_that_of_a_study(first):
    _, answer = first
    assert answer.stderr.startswith("tiny: A tiny figure\n")
    assert "training in this process" in answer.stderr
    assert "2 of 2 cells, 8 trials" in answer.stderr


def test_the_figure_is_drawn_twice(first):
    folder, answer = first
    assert {path.name for path in (folder / "out").iterdir()} == {"tiny.pdf", "tiny.png"}
    assert matplotlib.image.imread(folder / "out" / "tiny.png").std() > 0
    assert "wrote out/tiny.pdf" in answer.stderr


def test_what_is_stored_is_not_run_again_and_makes_the_page(first):
    folder, _ = first
    before = (folder / "s.db").stat().st_mtime_ns
    answer = ran(folder, "tiny", "--store", "s.db", "--page", "docs/page.md", "--json")
    assert (folder / "s.db").stat().st_mtime_ns == before
    assert "trials" not in answer.stderr
    (entry,) = json.loads(answer.stdout)
    assert entry["studies"] == ["tiny"]
    with Store(folder / "s.db") as store:
        cells = cells_frame(store, "tiny").set_index("mixer")
    claim = entry["claims"][0]
    (measured,) = claim["measured"].values()
    assert measured["value"] == cells.loc["attention", "test_accuracy"]
    assert measured["low"] == cells.loc["attention", "test_accuracy_min"]
    assert entry["published"][0]["value"] == 0.5
    page = (folder / "docs" / "page.md").read_text()
    for text in (
        "recollect reproduce tiny --scale laptop",
        "![A tiny table](figures/page-tiny.png)",
        "All is tiny in place of large.",
        "| Attention solves it. | section 1 | undecided |",
        "*What would decide some:* 8 more seeds of 1 model (--decide)",
        "a \\| b",
        f"summed over 8 trials ({processor_name()}, ",
    ):
        assert text in page
    assert [path.name for path in (folder / "docs" / "figures").iterdir()] == ["page-tiny.png"], (
        "another page in this folder has figures of its own"
    )


def test_more_seeds_decide_what_few_leave_open(first):
    folder, _ = first
    answer = ran(folder, "tiny", "--store", "s.db", "--decide", "--json", *HERE)
    (entry,) = json.loads(answer.stdout)
    claims = {claim["name"]: claim for claim in entry["claims"]}
    assert claims["some"]["verdict"] == "reproduced"
    assert "10 of 10 seeds" in claims["some"]["evidence"]
    assert claims["solves"]["verdict"] == "undecided", "seeds cannot decide it"
    with Store(folder / "s.db") as store:
        trials = trials_frame(store, "tiny-decide")
        before = trials_frame(store, "tiny")
    assert set(trials["mixer"]) == {"attention"}
    assert trials["seed"].nunique() == 10
    attention = before[before["mixer"] == "attention"]
    assert set(attention["key"]) < set(trials["key"]), "they are shared"
    assert "tiny-decide: A tiny figure" in answer.stderr


def test_a_page_does_not_decide(tmp_path):
    answer = typed("reproduce", "all", "--decide", "--page", tmp_path / "page.md")
    assert answer.code == 2
    assert "--page runs nothing" in answer.err


@pytest.mark.parametrize("name", ["page", "page.htm", "page.pdf"])
def test_the_name_of_a_page_says_its_format(tmp_path, name):
    answer = typed("reproduce", "all", "--page", tmp_path / name)
    assert answer.code == 2
    assert f"{name}: expected a name that ends in .md (Markdown" in answer.err
    assert "or .html (one HTML file)" in answer.err


def test_a_page_in_html_is_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "_library", str)
    with Store(tmp_path / "s.db"):
        pass
    place = ["--store", tmp_path / "s.db", "--page", tmp_path / "page.html"]
    answer = typed("reproduce", "revisiting-table1", *place)
    assert answer.code == 0
    assert f"wrote {tmp_path / 'page.html'}" in answer.err
    assert {path.suffix for path in tmp_path.iterdir()} == {".db", ".html"}
    page = (tmp_path / "page.html").read_text("utf-8")
    for claim in REPRODUCTIONS["revisiting-table1"].claims:
        assert claim.sentence in page
    assert page.count('"verdict":"not run"') == 2


def test_a_page_is_of_what_was_found(tmp_path):
    answer = typed("reproduce", "all", "--claims", "--page", tmp_path / "page.md")
    assert answer.code == 2
    assert "--claims only prints the claims" in answer.err
    assert not (tmp_path / "page.md").exists()


def test_a_scale_that_an_entry_lacks_is_refused_with_those_it_has():
    answer = typed("reproduce", "zoology-figure2", "--scale", "quick")
    assert answer.code == 2
    assert "'quick' of zoology-figure2: it has laptop, paper, paper-text" in answer.err


def test_claims_are_printed_before_anything_is_run():
    answer = typed("reproduce", "revisiting-figure1", "--claims")
    assert answer.code == 0
    assert "each mamba: window of working rates (decades) below 0.8 times" in answer.out
    printed = json.loads(typed("reproduce", "revisiting-figure1", "--claims", "--json").out)
    assert [claim["name"] for claim in printed[0]["claims"]] == ["mamba-window", "hyena-window"]
    for option in (["--store", "s.db"], ["--out", "folder"], ["--decide"]):
        refused = typed("reproduce", "revisiting-figure1", "--claims", *option)
        assert refused.code == 2
        assert f"--claims only prints the claims and has no use for {option[0]}:" in refused.err
    refused = typed("reproduce", "revisiting-figure1", "--claims", "--scale", "napkin")
    assert refused.code == 2
    assert "unknown scale 'napkin'" in refused.err


def test_the_list():
    answer = typed("reproduce", "--list")
    for name in REPRODUCTIONS:
        assert name in answer.out
    listed = json.loads(typed("reproduce", "--list", "--json").out)
    assert [entry["name"] for entry in listed] == REPRODUCTIONS.names()
    assert all(entry["claims"] for entry in listed)


def test_what_was_never_published_is_reported(tmp_path):
    words = ["reproduce", "revisiting-table1", "--scale", "paper", "--store", tmp_path / "s.db"]
    answer = typed(*words, *HERE)
    assert answer.code == 0
    assert "0 reproduced, 0 contradicted, 0 undecided, 2 not run" in answer.out
    assert "not published: number of steps" in answer.out


def test_the_page_needs_a_store(tmp_path):
    page = tmp_path / "page.md"
    answer = typed("reproduce", "all", "--store", tmp_path / "none.db", "--page", page)
    assert (answer.code, answer.out) == (2, "")
    assert "none.db" in answer.err
    assert not page.exists()
