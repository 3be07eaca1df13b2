"""`recollect show`, `plot`, `export` and `merge`: what they make of a store."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest
from tiny_study import tiny
from typed import STUDY, typed

from recollect.reports.kinds import KINDS
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store

pytestmark = pytest.mark.slow


def test_the_table_of_the_latest_study(stored):
    answer = typed("show", "--store", stored)
    assert answer.code == 0
    assert answer.out == typed("show", "tiny", "--store", stored).out
    assert answer.out.count("mqar-16x2") == 4


def test_what_was_not_learnt_is_reported_in_words(stored):
    """Four steps teach no model anything."""
    shown = typed("show", "--store", stored)
    assert shown.out.count("not learnt in 4 steps at rates 1e-3 to 1e-2 (0.") == 4
    for cell in json.loads(typed("show", "--store", stored, "--json").out)["cells"]:
        assert (cell["learnt"], cell["budget"]) == (False, 4)
        assert (cell["lowest_rate"], cell["highest_rate"]) == (1e-3, 1e-2)


def test_of_an_older_search_it_is_said_what_running_it_again_adds(stored, tmp_path):
    path = tmp_path / "older.db"
    shutil.copy(stored, path)
    older = {"low": 1e-3, "high": 1e-2, "per_decade": 1, "rungs": [], "refine": 0, "window": False}
    with Store(path) as store, store.transaction() as connection:
        connection.execute("UPDATE cells SET cell = json_set(cell, '$.search', json(?))", [
            json.dumps(older)
        ])  # fmt: skip
    shown = typed("show", "--store", path).out
    assert "not finished: 4 of 4 cells" in shown
    assert "an older version searched with fewer trials" in shown
    assert "run the study again to add" in shown
    assert "older version" not in typed("show", "--store", stored).out


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


def test_a_cell_whose_every_rate_diverged_has_no_choice(tmp_path):
    words = ["--store", tmp_path / "diverged.db", "--workers", 0, "--device", "cpu"]
    ran = typed("run", STUDY.replace(":tiny", ":diverging"), *words, "--widths", 8)
    assert "NoNumber d_model=8" in ran.err
    assert ran.err.count("every rate diverged") == 1
    (row,) = [line.split() for line in ran.out.splitlines() if line.strip().startswith("mqar")]
    assert (row[5], row[9]) == ("-", "diverged"), "rate and accuracy"
    assert "NoNumber at d_model 8 on mqar-16x2-v64: every learning rate diverged" in ran.out
    (cell,) = json.loads(typed("show", *words[:2], "--json").out)["cells"]
    assert (cell["learning_rate"], cell["test_accuracy"], cell["diverged"]) == (None, None, 4)
    assert "has a result to draw" in typed("plot", *words[:2], "--out", tmp_path / "new").err


def test_a_cell_some_rates_of_which_diverged_has_a_choice(tmp_path):
    words = ["--store", tmp_path / "s.db", "--workers", 0, "--device", "cpu", "--widths", 8]
    steep = ["--set", "search.rates=[1e-2,1e20]", "--set", "train.grad_clip=null"]
    ran = typed("run", STUDY, *words, "--mixers", "attention", *steep, "--json")
    (cell,) = json.loads(ran.out)["cells"]
    assert cell["diverged"] == 2
    assert cell["learning_rate"] == 1e-2
    assert "diverged" not in typed("show", *words[:2]).out


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


def test_columns_of_the_table(stored, tmp_path):
    words = ["--columns", "d_model, mixer,learning rate"]
    latex, markdown = tmp_path / "t.tex", tmp_path / "t.md"
    answer = typed("show", "--store", stored, *words, "--latex", latex, "--markdown", markdown)
    headings = next(line for line in answer.out.splitlines() if "mixer" in line)
    assert headings.split() == ["d_model", "mixer", "learning", "rate"]
    assert r"d\_model & mixer & learning rate \\" in latex.read_text()
    assert r"\label{tab:tiny}" in latex.read_text()
    assert markdown.read_text().startswith("| d\\_model | mixer | learning rate |")
    wrong = typed("show", "--store", stored, "--columns", "d_model,speed")
    assert (wrong.code, wrong.out) == (2, "")
    assert "unknown column 'speed'" in wrong.err
    assert "test accuracy" in wrong.err
    assert "--columns is for" in typed("show", "--store", stored, *words, "--json").err


def test_figures(stored, tmp_path):
    assert typed("plot", "--store", stored, "--out", tmp_path / "new").code == 0
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {f"{kind}.pdf" for kind in KINDS}
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
    assert (
        "nothing added: all 16 trials are already in this store" in typed("merge", other, copy).out
    )


def test_a_merge_says_why_it_adds_nothing_to_a_table(stored, tmp_path):
    other, empty = tmp_path / "other.db", tmp_path / "empty.db"
    shutil.copy(stored, other)
    Store(empty).close()
    assert "nothing added: that store has no trials" in typed("merge", other, empty).out
    words = [STUDY, "--store", tmp_path / "longer.db", "--set", "train.steps=2", "--widths", 8]
    typed("run", *words, "--workers", 0, "--device", "cpu")
    printed = typed("merge", other, tmp_path / "longer.db").out
    assert "8 trials and 0 cells added" in printed
    assert "cells not added to the table of tiny (in brackets: this store): train.steps" in printed
    assert "train.steps=2 (4)" in printed


def test_rows_of_an_edited_mixer_are_reported(tmp_path):
    """Those that were run before are kept, marked and said to be out of date."""
    file, store = tmp_path / "own.py", ["--store", tmp_path / "s.db"]
    text = Path(STUDY.rpartition(":")[0]).read_text().replace("(8, 16)", "(8,)")
    here = [*store, "--workers", 0, "--device", "cpu", "--mixers", "Mean"]
    file.write_text(text)
    assert typed("run", f"{file}:tiny", *here, "--widths", 8).code == 0
    assert "out of date" not in typed("show", *store).out
    edited = tmp_path / "edited"
    edited.mkdir()
    (edited / "own.py").write_text(text.replace("self.scale *", "2 * self.scale *"))
    assert typed("run", f"{edited / 'own.py'}:tiny", *here, "--widths", 16).code == 0
    file.write_bytes((edited / "own.py").read_bytes())
    answer = typed("show", *store)
    rows = [line for line in answer.out.splitlines() if "Mean [source" in line]
    assert len({row.partition("[")[2].partition("]")[0] for row in rows[:2]}) == 2
    (line,) = [line for line in answer.out.splitlines() if "is out of date" in line]
    assert "d_model=8" in line
    assert str(file) in line
    assert len(json.loads(typed("show", *store, "--json").out)["out_of_date"]) == 1
    typed("run", f"{edited / 'own.py'}:tiny", *here, "--widths", 8)
    (former,) = json.loads(typed("show", *store, "--former", "--json").out)
    assert f"{former['mixer']} " in rows[0], "as it was marked before"
    assert former["last_result"].startswith("20")


OWN = """
import torch
from torch import nn
import recollect as rc

class Sum(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.proj(x.cumsum(dim=1))

    def initial_state(self, batch_size):
        weight = self.proj.weight
        return torch.zeros(batch_size, weight.shape[1], dtype=weight.dtype)

    def step(self, x_t, state):
        return self.proj(x_t + state), x_t + state

def own(scale):
    train = rc.TrainConfig(steps=2, batch_size=4, valid_examples=4, test_examples=4)
    task = rc.MQAR(seq_len=8, num_kv_pairs=2, vocab_size=20)
    models = rc.models_grid(Sum, d_model=8, n_layers=1)
    return rc.Study(
        "own", tasks=task, models=models, train=train, search=rc.FixedGrid(rates=[1e-2]), seeds=1
    )
"""


def test_figures_that_measure_models_find_a_users_mixer_in_the_current_folder(tmp_path):
    """The installed program has its own folder on the import path, not the current one."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    (here / "own_study.py").write_text(OWN)
    program = elsewhere / "program.py"
    program.write_text(
        "from recollect.cli.main import main\nif __name__ == '__main__':\n    main()"
    )
    for words in (
        ["run", "own_study.py:own", "--store", "own.db", "--workers", "0"],
        ["plot", "own", "--store", "own.db", "--kind", "state", "--out", "state.png"],
    ):
        command = [sys.executable, str(program), *words]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "not drawn" not in done.stderr
    assert (here / "state.png").exists()
