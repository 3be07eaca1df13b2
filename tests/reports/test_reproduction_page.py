"""The HTML page of reproductions as data; `browser/` has what it does in a browser."""

import json
import re
import shutil
from statistics import median

import pandas as pd
import pytest
from made_reproduction import LEFT_OUT, REPRODUCTION, VERDICTS, make_results, study
from page_store import NAME, make_store

from recollect.cli.report import COMMANDS
from recollect.cli.reproduction_files import draw
from recollect.papers.reproduction import outcome
from recollect.reports.page import document as document_module
from recollect.reports.page.reproduction_data import reproductions_data
from recollect.studies.results import trials_frame
from recollect.studies.store import Store


def read(path):
    """The outcome of the made-up reproduction, and the data of its page."""
    with Store(path) as store:
        found = outcome(REPRODUCTION, "laptop", store)
        return found, reproductions_data([found], store, asked=["made-up"], remedies=COMMANDS)


@pytest.fixture(scope="module")
def made_page(tmp_path_factory):
    path = tmp_path_factory.mktemp("reproduced") / "made.db"
    make_results(path)
    return path, *read(path)


def test_each_claim_has_its_verdict_and_its_evidence(made_page):
    _, found, data = made_page
    (entry,) = data["entries"]
    assert [claim["verdict"] for claim in entry["claims"]] == list(VERDICTS)
    for claim, finding in zip(entry["claims"], found.findings, strict=True):
        assert "; ".join(claim["found"]) == finding.evidence
        assert claim["decides"] == finding.decides
        assert [part["state"] for part in claim["parts"]] == [p.state for p in finding.parts]
    assert "10 of 10 seeds" in entry["claims"][0]["evidence"]
    assert entry["claims"][3]["left_out"] == [LEFT_OUT]
    assert entry["differs"] == ["Differences from the paper", REPRODUCTION.differs]
    assert data["about"][0].startswith("Claims: 1 reproduced, 1 contradicted, 1 undecided, 1 not")


def test_each_number_is_that_of_its_trials_which_the_page_shows(made_page):
    path, found, data = made_page
    (entry,) = data["entries"]
    shown = {row[-1] for each in entry["studies"] for row in each["trialTable"]["rows"]}
    with Store(path) as store:
        trials = pd.concat(trials_frame(store, each["name"]) for each in entry["studies"])
    stored = dict(zip(trials["key"], trials["test_accuracy"], strict=True))
    counted = 0
    for claim, finding in zip(entry["claims"], found.findings, strict=True):
        assert {number["name"] for number in claim["numbers"]} == set(finding.measured)
        for number in claim["numbers"]:
            measured = finding.measured[number["name"]]
            assert number["text"] == str(measured)
            assert set(number["trials"]) <= shown
            assert all(stored[key] == each["value"] for key, each in number["trials"].items())
            chosen = [each["value"] for each in number["trials"].values() if each["chosen"]]
            assert len(chosen) == 10
            assert (median(chosen), min(chosen), max(chosen)) == (
                measured.value,
                measured.low,
                measured.high,
            )
            counted += 1
    assert counted == 3 * 2  # on two tasks each; that of H3 is not run
    (trials,) = entry["published"]["trials"]
    assert len(trials) == 50


def test_its_commands_give_its_results(made_page):
    path, _, data = made_page
    (entry,) = data["entries"]
    command = f"recollect reproduce made-up --scale laptop --decide --store {path}"
    assert data["command"] == entry["command"] == command
    assert [each["name"] for each in entry["studies"]] == [NAME, f"{NAME}-decide"]
    for each in entry["studies"]:
        assert {(cell["command"], cell["complete"]) for cell in each["cells"]} == {(command, True)}


def test_what_an_older_store_lacks_hides_no_trials(made_page, tmp_path):
    path, _, data = made_page
    older = tmp_path / "older.db"
    shutil.copy(path, older)
    with Store(older) as store:
        store.file.connection.execute(
            "UPDATE cells SET cell = json_set(cell, '$.learned_positions', NULL)"
        )
        assert all(cell.learned_positions is None for cell in store.cells(NAME))
    ((entry,), (of_older,)) = (each["entries"] for each in (data, read(older)[1]))
    assert [each["name"] for each in of_older["studies"]] == [NAME, f"{NAME}-decide"]
    assert [each["numbers"] for each in of_older["claims"]] == [
        each["numbers"] for each in entry["claims"]
    ]


def test_results_of_other_settings_are_not_shown(tmp_path):
    changed = study("laptop").replace(train=study("laptop").train.replace(batch_size=7))
    make_store(tmp_path / "other.db", changed)
    found, data = read(tmp_path / "other.db")
    (entry,) = data["entries"]
    assert {finding.verdict for finding in found.findings} == {"not run"}
    (shown,) = entry["studies"]
    assert len(shown["cells"]) == 4
    assert not any("test_accuracy" in cell for cell in shown["cells"])
    assert shown["trialTable"]["rows"] == entry["figures"] == []
    assert shown["notes"] == ["not finished: 4 of 4 cells"]
    assert entry["time"] == "Nothing has been run."


def test_the_page_has_the_data_and_no_name_ends_them(made_page, monkeypatch):
    monkeypatch.setattr(document_module, "_library", str)
    _, _, data = made_page
    text = document_module.reproductions_document(data)
    assert "<title>Reproductions – Recollect</title>" in text
    (told,) = re.findall(r'<script type="application/json" id="data">([^<]*)</script>', text)
    assert json.loads(told) == {"stand": None, "reproductions": data}


def test_figures_of_two_scales_are_different_files(made_page, tmp_path):
    path, *_ = made_page
    with Store(path) as store:
        outcomes = [outcome(REPRODUCTION, scale, store) for scale in ("laptop", "paper")]
    drawn = [draw([each], tmp_path, ("png",)) for each in outcomes]
    assert [[file.name for file in each["made-up"]] for each in drawn] == [
        ["made-up.png"],
        ["made-up-paper.png"],
    ]
