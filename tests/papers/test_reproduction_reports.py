"""What is drawn and written of reproductions, from made-up stores."""

import json
import math
from functools import cache

import pytest
from made_results import results
from made_store import STUDIED, fill, filled
from matplotlib.figure import Figure

from recollect.analysis.sign_test import FEW_SEEDS, looks
from recollect.papers.reproduction import REPRODUCTIONS, Outcome, outcome
from recollect.reports.claims import claims_record, claims_table, claims_text, tally
from recollect.reports.needed_widths import needed_widths
from recollect.reports.reproduction_figures import reproduction_figure
from recollect.reports.reproductions import record, write_page
from recollect.studies.store import Store

pytestmark = pytest.mark.slow


def made_up(settings, rate: float) -> float:
    """Something that differs from cell to cell, best around 1e-2."""
    place = sum(map(ord, settings["mixer.name"])) % 5 / 10 + settings["model.d_model"] % 7 / 30
    return max(0.05, 0.5 + place - 0.3 * abs(math.log10(rate) + 2))


@cache
def stored(name: str) -> Outcome:
    return filled(name, made_up)


def drawn(name: str) -> Figure:
    figure = reproduction_figure(stored(name))
    assert figure is not None
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize("name", STUDIED)
def test_every_figure_has_something_in_every_panel(name):
    for ax in drawn(name).axes:
        assert any(
            len(line.get_xdata()) and line.get_marker() not in ("None", "") for line in ax.lines
        )


def test_without_results_there_is_no_figure(tmp_path):
    with Store(tmp_path / "empty.db") as store:
        assert (
            reproduction_figure(outcome(REPRODUCTIONS["revisiting-figure4"], "laptop", store))
            is None
        )


@pytest.mark.parametrize("name", ["revisiting-table1", "revisiting-table2"])
def test_printed_numbers_are_stars_in_the_row_of_their_model(name):
    entry, found = REPRODUCTIONS[name], stored(name)
    (ax,) = drawn(name).axes
    stars = {
        (line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "*"
    }
    rows = list(found.results.all)
    of_models = [(number.value, *found.results.select(number.where)) for number in entry.published]
    assert stars == {(value, rows.index(model)) for value, model in of_models}
    ours = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if line.get_marker() not in ("*", "None", "") and len(line.get_xdata()) == 1
    ]
    assert ours == [(cell.accuracy(entry.metric).value, i) for i, cell in enumerate(rows)]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert len(set(names)) == len(rows)


def test_scaling_is_drawn_over_parameters_and_over_measured_state():
    figure = drawn("revisiting-figure4")
    labels = ["parameters in layers", "state after the task (bytes)"]
    assert [ax.get_xlabel() for ax in figure.axes] == labels
    where = {"mixer.name": "attention", "model.d_model": 64, "model.n_layers": 2}
    (attention,) = stored("revisiting-figure4").results.select(where)
    over_parameters, over_state = (
        {tuple(point) for line in ax.lines for point in line.get_xydata()} for ax in figure.axes
    )
    accuracy = attention.row["test_accuracy"]
    embedding = attention.settings["task.vocab_size"] * 64
    assert (attention.parameters - embedding, accuracy) in over_parameters
    keys_and_values = 2 * 2 * 16 * 64 * 4  # of two layers, 16 tokens, width 64, in float32
    assert (keys_and_values, accuracy) in over_state


def test_two_grids_are_told_apart():
    names = [text.get_text() for text in drawn("revisiting-figure2").legends[0].get_texts()]
    assert {"Mamba", "Mamba [zoology-rates]", "Attention [positions=rope]"} <= set(names)


def test_windows_of_copying_are_of_whole_strings():
    (ax,) = drawn("revisiting-figure5").axes
    assert ax.get_ylabel() == "share of correct strings"
    for cell in stored("revisiting-figure5").results.all:
        highest = max(o.mean for o in cell.outcomes("valid_example_accuracy") if o.finished)
        drawn_there = {y for line in ax.lines for y in line.get_ydata()}
        assert any(y == pytest.approx(highest) for y in drawn_there)


def test_the_smallest_widths_that_solve_are_printed_beside_the_lengths(tmp_path):
    def solved(settings, rate: float) -> float:
        needed = {"attention": 8, "mamba": 1024}.get(
            settings["mixer.name"], settings["task.seq_len"]
        )
        return 0.95 if settings["model.d_model"] >= needed else 0.3

    cells = results("zoology-figure2", solved, lambda *_: 1.0).all
    assert needed_widths(cells[:6]) is None, "one length"
    widths = needed_widths(cells)
    assert widths is not None
    headings, rows = widths.table
    assert headings[1:] == [f"mqar-{n}x2-v128, N = {n}" for n in (16, 32, 64)]
    by_model = dict(zip([row[0].partition(",")[0] for row in rows], rows, strict=True))
    assert by_model["attention [positions=rope]"][1:] == ["8 = 0.5 N", "8 = 0.25 N", "8 = 0.125 N"]
    assert by_model["hyena"][1:] == ["16 = 1 N", "32 = 1 N", "64 = 1 N"]
    assert by_model["mamba"][1:] == ["> 128"] * 3
    made = stored("zoology-figure2")
    write_page([made], {}, tmp_path / "page.md", asked=["zoology-figure2"])
    page = (tmp_path / "page.md").read_text()
    assert "| smallest width that solves | mqar-16x2-v128, N = 16 |" in page


def test_the_table_has_every_claim():
    outcomes = [stored(name) for name in ("revisiting-table1", "revisiting-figure3")]
    headings, rows = claims_table(outcomes)
    assert headings == ["reproduction", "claim", "verdict", "measured"]
    findings = [finding for each in outcomes for finding in each.findings]
    for row, finding in zip(rows, findings, strict=True):
        assert row[2] == finding.verdict
        assert row[3].startswith(finding.evidence)
        assert finding.decides in row[3]
    counted = [int(part.split()[0]) for part in tally(outcomes).split(", ")]
    assert sum(counted) == len(rows) == 4
    assert counted[0] == sum(row[2] == "reproduced" for row in rows)


@pytest.mark.parametrize("name", STUDIED)
def test_a_record_is_plain(name):
    written = json.loads(json.dumps(record(stored(name)), allow_nan=False))
    assert written["name"] == name
    for claim, finding in zip(written["claims"], stored(name).findings, strict=True):
        assert claim["verdict"] == finding.verdict
        assert set(claim["measured"]) == set(finding.measured)
        assert [part["state"] for part in claim["parts"]] == [p.state for p in finding.parts]


def test_the_page_tells_of_each_and_counts_shared_trials_once(tmp_path):
    with Store(tmp_path / "both.db") as store:
        names = ("revisiting-figure7", "revisiting-figure1")
        for name in names:
            for study in REPRODUCTIONS[name].studies("laptop"):
                fill(store, study, made_up)
        seven, one = (outcome(REPRODUCTIONS[name], "laptop", store) for name in names)
    figures = {"revisiting-figure1": [tmp_path / "figures" / "one.png"]}
    write_page([seven, one], figures, tmp_path / "page.md", asked=["all", "another"])
    page = (tmp_path / "page.md").read_text()
    assert "    recollect reproduce all another --scale laptop\n" in page
    assert page.index(f"## {seven.reproduction.title}") < page.index(f"## {one.reproduction.title}")
    assert "](figures/one.png)" in page
    assert page.count("![") == 1
    keys = [set(each.results.trials["key"]) for each in (seven, one)]
    assert keys[0] & keys[1]
    for trials in (*keys, keys[0] | keys[1]):
        assert f"summed over {len(trials)} trials" in page
    for each in (seven, one):
        for claim in each.reproduction.claims:
            assert claim.sentence in page


def test_the_page_begins_with_a_summary_and_says_what_ranges_are_worth(tmp_path):
    found = filled("revisiting-table1", lambda *_: 0.05)
    (tmp_path / "page-summary.md").write_text("Written by hand.\n")
    (tmp_path / "other-summary.md").write_text("Of another page.\n")
    write_page([found], {}, tmp_path / "page.md", asked=["revisiting-table1"])
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Reproductions\n\nClaims: 0 reproduced, 0 contradicted, 2 undecided")
    assert "Of another page." not in page
    assert page.index("Written by hand.") < page.index("Figures and tables of two papers")
    assert "50 % for 2, 75 % for 3, 93.8 % for 5, 99.8 % for 10 seeds" in page
    assert "verdicts.md" not in page, "there is no such file beside it"
    (tmp_path / "verdicts.md").write_text("How a verdict is made.\n")
    write_page([found], {}, tmp_path / "page.md", asked=["revisiting-table1"])
    assert "[verdicts.md](verdicts.md) explains" in (tmp_path / "page.md").read_text()
    assert "not learnt in 2,000 steps at rates " in page
    assert "[strings 0." in page
    assert "*What would decide attention-copies:* a longer budget" in page
    assert "95 %" not in page, "no percentage whose coverage is not tested"


def test_what_is_not_judged_is_reported(tmp_path):
    found = stored("revisiting-figure6")
    write_page([found], {}, tmp_path / "page.md", asked=["revisiting-figure6"])
    claims = [claim for claim in found.reproduction.claims if claim.left_out]
    assert claims
    for claim in claims:
        line = f"*Not judged for {claim.name}:* {claim.left_out[0]}"
        assert line in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize("name", REPRODUCTIONS.names())
def test_claims_say_beforehand_what_they_go_by(name):
    entry = REPRODUCTIONS[name]
    text, record = claims_text(entry, "laptop"), claims_record(entry, "laptop")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    for claim, as_record in zip(entry.claims, record["claims"], strict=True):
        assert claim.sentence in text
        for part, written in zip(claim.parts, as_record["parts"], strict=True):
            assert part.sentence in text
            assert written["sentence"] == part.sentence
            if entry.language is None:
                assert part.why in text
                assert part.why
        assert set(claim.left_out) == set(as_record["left_out"])
    for study in entry.studies("laptop"):
        assert record["studies"][study.name]["looks"] == list(looks(len(study.seeds)))
        few = len(study.seeds) < FEW_SEEDS
        first = "on 5 of 10 seeds" if few else "on 5 of 5 seeds, else on 9 of 10 after --decide"
        assert first in text or "on 5 of 5, else 9 of 10 after --decide has added seeds" in text


def test_the_page_of_nothing_says_so(tmp_path):
    with Store(tmp_path / "empty.db") as store:
        found = outcome(REPRODUCTIONS["revisiting-table1"], "laptop", store)
    write_page([found], {}, tmp_path / "page.md", asked=["revisiting-table1"])
    page = (tmp_path / "page.md").read_text()
    assert "Nothing has been run." in page
    assert "| not run |" in page
