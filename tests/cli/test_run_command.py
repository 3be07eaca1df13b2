"""`recollect run`."""

import json
import shlex
import shutil
import sys

import pandas as pd
import pexpect
import pytest
from typed import STUDY, typed

from recollect.reports.kinds import KINDS
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store

pytestmark = pytest.mark.slow

HERE = ["--workers", 0, "--device", "cpu"]
FILES = {"table.csv"} | {f"{kind}.{form}" for kind in KINDS for form in ("pdf", "png")}


@pytest.fixture
def store(stored, tmp_path):
    """A copy of the finished store, to be changed."""
    return shutil.copy(stored, tmp_path / "tiny.db")


def test_a_run_ends_with_its_table_and_tells_what_it_wrote(store, tmp_path):
    answer = typed("run", STUDY, "--store", store, "--out", tmp_path / "new" / "out", *HERE)
    assert answer.code == 0
    rows = [line.split() for line in answer.out.splitlines() if line.strip().startswith("mqar")]
    assert [(row[1], row[2], row[4]) for row in rows] == [
        ("attention", "default", "8"),
        ("attention", "default", "16"),
        ("Mean", "initialisation=own", "8"),
        ("Mean", "initialisation=own", "16"),
    ]
    assert "learning rate" in answer.out
    assert "train.steps=4" in answer.out  # the recipe is printed with the result
    assert {path.name for path in (tmp_path / "new" / "out").iterdir()} == FILES
    for name in FILES:
        assert f"out/{name}" in answer.err
    table = pd.read_csv(tmp_path / "new" / "out" / "table.csv")
    with Store(store) as opened:
        assert list(table["test_accuracy"]) == list(cells_frame(opened, "tiny")["test_accuracy"])


def test_what_is_stored_is_not_run_again_unless_afresh(store):
    assert "trials" not in typed("run", STUDY, "--store", store, *HERE).err.replace("0 trials", "")
    afresh = typed("run", STUDY, "--store", store, "--mixers", "Mean", "--fresh", *HERE)
    assert "2 of 2 cells, 8 trials" in afresh.err


def test_a_log_has_a_line_for_every_trial_and_cell(tmp_path):
    answer = typed("run", STUDY, "--store", tmp_path / "new" / "s.db", "--widths", 8, *HERE)
    lines = answer.err.splitlines()
    assert sum("complete at step 4, accuracy 0." in line for line in lines) == 8
    message = "not learnt in 4 steps at rates 1e-3 to 1e-2 (validation accuracy 0."
    assert sum(message in line for line in lines) == 2
    assert "s left" in lines[-1]
    assert "\x1b" not in answer.err + answer.out


def test_a_study_is_tracked(tmp_path):
    store = tmp_path / "tracked.db"
    words = ("run", STUDY, "--store", store, "--workers", 0, "--device", "cpu", "--track")
    answer = typed(*words, "tensorbord")
    assert answer.code == 2
    assert "did you mean 'tensorboard'" in answer.err
    assert typed(*words, "tensorboard").code == 0
    with Store(store) as opened:
        trials = trials_frame(opened, "tiny")
    runs = {path.parent for path in store.with_name("tracked.db.tensorboard").rglob("events*")}
    assert len(runs) == len(trials)


def test_json_is_all_there_is_on_standard_output(store):
    answer = typed("run", STUDY, "--store", store, "--json", *HERE)
    result = json.loads(answer.out)
    assert result["study"] == "tiny"
    assert result["settings"]["train.steps"] == 4
    assert result["settings"]["model.norm"] == "layernorm"
    assert [cell["mixer"] for cell in result["cells"]] == ["attention"] * 2 + ["Mean"] * 2
    assert all(cell["finished"] for cell in result["cells"])


def test_parts_and_settings(tmp_path):
    chosen = ["--mixers", "attention", "--tasks", "16x2", "--widths", 8, "--depths", 1]
    settings = ["--seeds", 1, "--set", "train.steps=2", "--set", "model.mlp=gelu"]
    words = [*chosen, *settings, "--store", tmp_path / "s.db", "--json", *HERE]
    of_partial = STUDY.replace(":tiny", ":PARTIAL")  # any callable will do
    result = json.loads(typed("run", of_partial, *words).out)
    (cell,) = result["cells"]
    assert (cell["d_model"], cell["seeds"], cell["steps"]) == (8, 1, 2)
    assert cell["recipe"] == "mlp=gelu"


def test_the_table_names_an_optimiser_that_is_not_the_default(tmp_path):
    words = ["--mixers", "attention", "--widths", 8, "--seeds", 1, "--store", tmp_path / "s.db"]
    answer = typed("run", STUDY, *words, "--set", "train.optimizer=lion", *HERE)
    assert (answer.code, "optimizer=lion" in answer.out) == (0, True)
    unknown = typed("run", STUDY, *words, "--set", "train.optimizer=adam", *HERE)
    assert unknown.code == 2
    for name in ("adamw", "lion", "muon", "schedule-free", "sgd", "file.py:function"):
        assert name in unknown.err


def test_a_run_with_failed_trials_ends_with_its_table_and_code_1(tmp_path):
    failing = STUDY.replace(":tiny", ":half_failing")
    words = ["--store", tmp_path / "s.db", "--widths", 8, *HERE]
    first = typed("run", failing, *words)
    assert first.code == 1
    assert "no rate was trained on every seed" in first.err
    *_, failed, why = first.err.splitlines()
    assert failed.startswith("4 trials failed;")
    shown = typed(*shlex.split(why)[1:])
    assert shown.out.count("[red]no[/]\n") == 4, "one traceback for each"
    assert "4 of 4" in first.out
    assert "1 of 2 cells with failed trials" in first.out
    assert "not finished" not in first.out
    assert "4 of 8 trials failed: a better learning rate may be among" in first.out
    again = typed("run", failing, *words, "--json")
    assert again.code == 1
    assert [cell["failed"] for cell in json.loads(again.out)["cells"]] == [0, 4]
    retried = typed("run", failing, *words, "--retry-failed")
    assert retried.err.count("RuntimeError: [red]no[/]") == 4
    assert typed("run", failing, *words, "--mixers", "attention").code == 0


def test_what_failed_is_shown(tmp_path):
    words = ["--store", tmp_path / "s.db"]
    failing = STUDY.replace(":tiny", ":half_failing")
    typed("run", failing, *words, "--widths", 8, *HERE)
    shown = typed("show", *words, "--failed")
    assert shown.code == 0
    assert shown.out.count("RuntimeError: [red]no[/]") == 8  # in the table, and below a traceback
    assert "tiny_study.py" in shown.out
    failures = json.loads(typed("show", *words, "--failed", "--json").out)
    assert [failure["message"] for failure in failures] == ["RuntimeError: [red]no[/]"] * 4
    assert typed("show", *words, "--trials").out.count(" failed ") == 4
    drawn = typed("plot", *words, "--out", tmp_path / "figures")
    assert drawn.code == 0
    assert "not drawn: Failing at d_model 8 on" in drawn.err
    assert "(4 trials: 4 failed)\n" in drawn.err
    alone = ["--store", tmp_path / "alone.db", "--mixers", "Failing", "--widths", 8]
    typed("run", failing, *alone, *HERE)
    assert "no cell of tiny has a result" in typed("plot", *alone[:2]).err


def test_a_store_without_failures_says_so(store):
    assert typed("show", "--store", store, "--failed").out == "no trial of tiny has failed\n"
    assert json.loads(typed("show", "--store", store, "--failed", "--json").out) == []


def test_parts_add_up_and_what_a_study_has_lost_is_listed_as_such(store):
    words = ["--store", store, *HERE]
    part = typed("run", STUDY, *words, "--mixers", "attention", "--widths", 8, "--json")
    assert len(json.loads(part.out)["cells"]) == 4
    smaller = typed("run", STUDY.replace(":tiny", ":attention_alone"), *words)
    assert smaller.out.count("mqar-16x2") == 2
    assert "2 cells with results are not part of the study as it was last run" in smaller.out
    former = typed("show", "--store", store, "--former")
    assert former.out.count("Mean") == former.out.count("not in the study") == 2
    listed = json.loads(typed("show", "--store", store, "--former", "--json").out)
    assert [cell["trials"] for cell in listed] == [4, 4]
    whole = typed("run", STUDY, *words)
    assert "0 trials" in whole.err
    assert "not part of the study" not in whole.out
    assert typed("show", "--store", store, "--former").out == "no cell of tiny has been removed\n"


def test_cells_that_a_set_value_takes_out_of_the_table_are_reported(store):
    words = ["--store", store, *HERE, "--mixers", "attention", "--set", "train.steps=2"]
    ran = typed("run", STUDY, *words, "--widths", 8)
    assert (
        "--set changed the study: 4 cells with other settings are no longer listed; `recollect show"
        " --former` lists them" in ran.err
    )
    assert "changed the study" not in typed("run", STUDY, *words, "--widths", 8).err
    more = typed("run", STUDY, *words, "--json")
    assert "changed the study" not in more.err, "parts of equal settings add up"
    assert len(json.loads(more.out)["cells"]) == 2


def test_a_trial_that_was_stopped_and_goes_on_counts_once(tmp_path):
    search = ["search.low=1e-4", "search.high=1e-1", "search.per_decade=1", "train.steps=8"]
    words = [word for text in search for word in ("--set", text)]
    file = f"{STUDY.rpartition(':')[0]}:racing"
    here = ["--store", tmp_path / "s.db", "--mixers", "attention", "--widths", 8, *HERE]
    ran = typed("run", file, *here, *words)
    stored = json.loads(typed("show", "--store", tmp_path / "s.db", "--trials", "--json").out)
    assert ran.err.count(", seed ") > len(stored), "some were stopped and went on"
    assert f", {len(stored)} trials" in ran.err.splitlines()[-1]


def test_a_function_of_a_module_on_the_current_path(store, monkeypatch):
    monkeypatch.chdir(STUDY.rpartition("/")[0])
    answer = typed("run", "tiny_study:tiny", "--store", store, "--json", *HERE)
    assert json.loads(answer.out)["study"] == "tiny"


@pytest.mark.parametrize("elsewhere", [[], ["--artifacts", "memory://kept"]])
def test_kept_weights_are_loaded_again(tmp_path, elsewhere):
    import recollect as rc

    path = tmp_path / "s.db"
    words = ["--store", path, "--widths", 8, "--mixers", "attention", "--keep-weights"]
    assert typed("run", STUDY, *words, *elsewhere, *HERE).code == 0
    trials = json.loads(typed("show", "--store", path, "--trials", "--json").out)
    assert rc.load(trials[0]["key"], store=path).config.d_model == 8


def test_a_terminal_shows_progress_and_an_interrupted_run_goes_on(tmp_path):
    """With worker processes and the user's own mixer, whose class they must find."""
    words = ["run", STUDY, "--store", "s.db", "--mixers", "Mean", "--widths", "8"]
    long = ["--set", "train.steps=1000000", "--set", "train.eval_every=500", "--workers", "1"]
    arguments = ["-m", "recollect.cli", *words, *long]
    terminal = pexpect.spawn(
        sys.executable, arguments, cwd=tmp_path, encoding="utf-8", dimensions=(24, 120), timeout=120
    )
    terminal.expect("0 of 1 cells")
    terminal.expect(r"step [1-9]\d* of 1000000\s+accuracy 0\.\d\d\d")
    terminal.sendintr()
    terminal.expect("interrupted: .* the same command resumes")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    with Store(tmp_path / "s.db", must_exist=True) as store:
        assert store.studies() == ["tiny"]
        assert store.rows("SELECT * FROM leases") == []


GRU = "torch.nn:GRU(batch_first=true)"
ADAPTED = ["--adapt", "d_model=input_size,hidden_size", "--adapt", "state=hx"]


def test_a_class_of_another_library_and_a_mixer_of_the_catalogue_take_part(tmp_path):
    words = ["run", STUDY, "--store", tmp_path / "s.db", "--widths", 8, "--json", *HERE]
    mixers = f"attention,{GRU},gla(n_heads=2),gla(n_heads=2),attention(n_heads=1)"
    answer = typed(*words, "--mixers", mixers, *ADAPTED)
    assert answer.code == 0, answer.err
    assert {cell["mixer"] for cell in json.loads(answer.out)["cells"]} == {
        "attention",
        "GRU(batch_first=True,state=hx)",
        "gla(n_heads=2)",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mixers", "attention", *ADAPTED], "needs a class to adapt: name it with --mixers"),
        (["--mixers", "gal"], "unknown mixer 'gal'"),
        (["--mixers", "hf:mamba3"], "unknown architecture of transformers 'mamba3'"),
        (["--mixers", "torch.nn:GRUU"], "GRU"),
        (["--mixers", GRU, "--adapt", "statte=hx"], "unknown option of torch.nn"),
        (["--mixers", GRU, "--adapt", "state"], "expected key=value"),
    ],
)
def test_a_class_that_cannot_take_part_is_refused(tmp_path, words, message):
    answer = typed("run", STUDY, "--store", tmp_path / "s.db", *words, *HERE)
    assert answer.code == 2
    assert message in answer.err
