"""`recollect show`, `plot`, `export` and `merge`: what they make of a store."""

import json

import matplotlib.image
import pandas as pd
from tiny_study import tiny
from typed import STUDY, typed

from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store


def test_the_table_of_the_latest_study(stored):
    answer = typed("show", "--store", stored)
    assert answer.code == 0
    assert answer.out == typed("show", "tiny", "--store", stored).out
    assert answer.out.count("mqar-16x2") == 4


def test_every_trial(stored):
    answer = typed("show", "--store", stored, "--trials")
    assert answer.out.count("mqar-16x2") == 16
    trials = json.loads(typed("show", "--store", stored, "--trials", "--json").out)
    assert len(trials) == 16
    assert {trial["status"] for trial in trials} == {"complete"}


def test_a_diverged_trial_has_no_loss_in_json(tmp_path):
    store = tmp_path / "diverged.db"
    words = ["--store", store, "--workers", 0, "--device", "cpu", "--json"]
    typed("run", STUDY.replace(":tiny", ":diverging"), *words)
    answer = typed("show", "--store", store, "--trials", "--json")
    assert answer.code == 0
    trials = json.loads(answer.out)
    assert {trial["status"] for trial in trials} == {"diverged"}
    assert {trial["test_loss"] for trial in trials} == {None}


def test_a_study_without_results_has_an_empty_table_of_trials(tmp_path):
    with Store(tmp_path / "new.db") as store:
        store.record_study("tiny", "settings", tiny(["attention"]).cells())
    answer = typed("show", "--store", tmp_path / "new.db", "--trials")
    assert answer.code == 0
    assert "learning rate" in answer.out


def test_tables_as_files(stored, tmp_path):
    names = ("t.csv", "t.parquet", "t.tex", "t.md")
    csv, parquet, latex, markdown = (tmp_path / name for name in names)
    words = ["--csv", csv, "--parquet", parquet, "--latex", latex, "--markdown", markdown]
    answer = typed("show", "--store", stored, *words)
    with Store(stored) as store:
        cells, trials = cells_frame(store, "tiny"), trials_frame(store, "tiny")
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), cells)
    assert list(pd.read_csv(csv)["test_accuracy"]) == list(cells["test_accuracy"])
    assert latex.read_text().count("Attention") == 2
    assert markdown.read_text().count("Attention") == 2
    for path in (csv, parquet, latex, markdown):
        assert f"wrote {path}" in answer.err
    typed("show", "--store", stored, "--trials", "--csv", csv)
    assert list(pd.read_csv(csv)["key"]) == list(trials["key"])


def test_figures(stored, tmp_path):
    assert typed("plot", "--store", stored, "--out", tmp_path / "new").code == 0
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"accuracy.pdf", "learning-rate.pdf", "training.pdf"}
    one = tmp_path / "one.png"
    assert typed("plot", "--store", stored, "--kind", "training", "--out", one).code == 0
    assert matplotlib.image.imread(one).std() > 0


def test_an_export_is_a_store_and_merges(stored, tmp_path):
    copy, other = tmp_path / "copy.db", tmp_path / "other.db"
    assert typed("export", stored, copy).code == 0
    assert typed("show", "--store", copy).out == typed("show", "--store", stored).out
    Store(other).close()
    assert "16 trials and 4 cells" in typed("merge", other, copy).out
    assert typed("show", "--store", other).out == typed("show", "--store", stored).out
    merged = json.loads(typed("merge", other, copy, "--json").out)
    assert merged[str(copy)]["trials"] == 0
