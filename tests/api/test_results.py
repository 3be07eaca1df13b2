"""What `rc.run` returns and `rc.results` finds again."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import matplotlib
import matplotlib.image
import pandas as pd
import pytest
import torch
from quick import TASK, Raising, quick_study
from torch.nn import functional

import recollect as rc
from recollect.bench.measurement import Place
from recollect.errors import UserError
from recollect.reports import tables
from recollect.reports.kinds import KINDS, OBSERVED
from recollect.reports.markup import in_html

SHORT = ["mixer", "d_model", "learning rate", "test accuracy (range over seeds)"]


def test_the_frames_are_those_of_the_store(results):
    with rc.Store(results.store) as store:
        pd.testing.assert_frame_equal(results.cells, rc.cells_frame(store, "quick"))
        pd.testing.assert_frame_equal(results.trials, rc.trials_frame(store, "quick"))
        pd.testing.assert_frame_equal(results.history, rc.history_frame(store, "quick"))
    assert (len(results.cells), len(results.trials), len(results.history)) == (2, 8, 8 * 2)
    again = rc.results("quick", store=results.store)
    pd.testing.assert_frame_equal(again.cells, results.cells)
    assert repr(again) == repr(results)


def test_the_display_is_the_short_table_with_the_words_of_the_full_one(results, monkeypatch):
    """Four steps teach no model anything."""
    names, full = tables.readable(results.cells)
    headings, rows = tables.short(results.cells)
    assert headings == SHORT
    for row, whole in zip(rows, full, strict=True):
        assert row == [whole[names.index(name)] for name in SHORT]
        assert "not learnt in 4 steps at rates 1e-3 to 1e-2 (0." in row[-1]
    for shown in (repr(results), results._repr_html_()):
        assert "study quick, task mqar-16x2-v64, layers 1" in shown
        assert "chance level 0.500" in shown
        for line in (headings, *rows):
            assert all(text in shown for text in line)
        assert "train.batch_size=8" in shown, "the recipe is part of a result"
    assert "\x1b" not in repr(results)
    monkeypatch.setenv("COLUMNS", "60")
    table, _, _ = repr(results).partition("study quick")
    assert max(map(len, table.splitlines())) <= 60


def test_a_failed_trial_is_said(tmp_path: Path):
    study = quick_study(["attention", Raising])
    with pytest.warns(UserWarning, match="failed trials in quick: 4; the column `failure` of"):
        results = rc.run(study, store=tmp_path / "f.db", workers=0, device="cpu", progress=False)
    assert "4 of 8 trials failed" in repr(results)
    assert "4 of 8 trials failed" in results._repr_html_()
    assert "1 of 2 cells with failed trials" in repr(results)
    failures = results.trials.query("status == 'failed'")["failure"]
    assert set(failures) == {"RuntimeError: no <b>memory</b> & no hope"}
    with pytest.warns(UserWarning, match="not drawn: Raising at d_model 8"):
        results.plot()
    key = results.trials.query("status == 'failed'")["key"].iloc[0]
    with pytest.raises(UserError, match="failed and has no weights"):
        results.model(key)


def test_names_are_text_in_a_notebook():
    cell = in_html(["a<b"], [["<script>&"]])
    assert "<script>" not in cell
    assert "a&lt;b" in cell
    assert "&lt;script&gt;&amp;" in cell


def test_it_stays_what_it_was_when_the_study_changes(results, tmp_path: Path):
    """The store of a notebook is run into again and again."""
    shutil.copytree(results.store.parent, tmp_path / "all")
    path = tmp_path / "all" / results.store.name
    before = rc.results("quick", store=path)
    seen = repr(before)
    after = rc.run(quick_study("hyena"), store=path, workers=0, device="cpu", progress=False)
    assert list(after.cells["mixer"]) == ["hyena"]
    assert "2 cells with results are not part of the study as it was last run" in repr(after)
    assert repr(before) == seen
    assert set(before.history["mixer"]) == {"attention", "base-conv"}
    asked = rc.results(quick_study(), store=path)
    pd.testing.assert_frame_equal(asked.cells, results.cells)


def test_no_database_is_held_open(results, tmp_path: Path):
    copy = tmp_path / "copy.db"
    shutil.copy(results.store, copy)
    found = rc.results("quick", store=copy)
    copy.unlink()
    assert list(tmp_path.iterdir()) == []
    assert len(found.history) == 16
    assert found.plot("training").axes


@pytest.mark.parametrize("kind", KINDS)
def test_figures(results, kind):
    """With the settings of the package, whatever those of the user are, which stay."""
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 10}):
        figure = results.plot(kind)
        assert matplotlib.rcParams["font.size"] == 30
        image = BytesIO()
        figure.savefig(image, format="png")
    image.seek(0)
    width = matplotlib.image.imread(image).shape[1]
    assert width == pytest.approx(300 * figure.get_figwidth(), abs=1)
    png, shown = figure._repr_png_()
    assert matplotlib.image.imread(BytesIO(png)).shape[1] == pytest.approx(
        2 * shown["width"], abs=2
    )


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("accuracies", {}, "did you mean 'accuracy'\\? choose from accuracy, attention-map, cap"),
        ("dynamics", {}, "no trial of quick was observed in training: .*observe=True"),
        ("tradeoff", {}, "needs the file that `recollect bench mixers --out FILE` writes"),
        ("accuracy", {"bench": "b.json"}, "other figures take no file"),
    ],
)
def test_what_cannot_be_drawn(results, kind, options, message):
    with pytest.raises(UserError, match=message):
        results.plot(kind, **options)


def test_an_observed_study_draws_what_was_observed(tmp_path: Path):
    study = quick_study("attention", observe=True, seeds=(1,))
    results = rc.run(study, store=tmp_path / "o.db", workers=0, device="cpu", progress=False)
    for kind in OBSERVED:
        assert results.plot(kind).axes


def test_recall_over_cost(results, tmp_path: Path):
    place = Place("mixers", "attention", {"d_model": 8, "length": 16})
    found = [place.measured("decoding", "tokens/s", [5.0]), place.measured("state", "bytes", [9.0])]
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"machine": {}, "measurements": list(map(asdict, found))}))
    with pytest.warns(UserWarning, match=r"not measured in .*bench\.json: base-conv at d_model 8"):
        assert results.plot("tradeoff", bench=bench).axes


def test_tables_for_papers_are_those_of_the_command_line(results, tmp_path: Path):
    tables.write_latex(results.cells, tmp_path / "t.tex", study="quick")
    tables.write_markdown(results.cells, tmp_path / "t.md")
    assert results.to_latex() == (tmp_path / "t.tex").read_text()
    assert results.to_markdown() == (tmp_path / "t.md").read_text()
    assert results.to_latex().count("Attention") == 1


def test_models(results):
    reported = results.trials.query("chosen and not searching")
    best = reported.sort_values(["valid_accuracy", "valid_loss"], ascending=[False, True]).iloc[0]
    model, named = results.model(), results.model(best["key"])
    batch = TASK.sample(4, seed=0)
    assert torch.equal(model(batch.inputs, batch.positions), named(batch.inputs, batch.positions))
    assert model.config.d_model == 8
    with pytest.raises(UserError, match="unknown trial of quick 'abc'"):
        results.model("abc")


@rc.register_metric("doubt")
def doubt(logits: torch.Tensor, batch: rc.Batch) -> torch.Tensor:
    """The higher the loss, the better."""
    rows = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    return 1 - (-rows.view_as(batch.targets).mean(dim=1)).exp()


def test_the_best_model_is_that_by_the_metric_of_the_search(tmp_path: Path):
    study = quick_study(search=rc.FixedGrid(rates=[1e-3, 1e-2], metric="doubt"))
    study = study.replace(train=study.train.replace(metrics="doubt"))
    results = rc.run(
        study, store=tmp_path / "m.db", workers=0, device="cpu", progress=False, keep_weights=True
    )
    reported = results.trials.query("chosen and not searching")
    worst = results.model(reported.loc[reported["valid_loss"].idxmax(), "key"])
    batch, model = TASK.sample(4, seed=0), results.model()
    assert torch.equal(model(batch.inputs, batch.positions), worst(batch.inputs, batch.positions))


OWN_TASK = """
from typing import ClassVar
import torch
import recollect as rc

@rc.register_task("own-echo")
class Echo(rc.Task):
    vocab_size: int = 16
    label: ClassVar[str] = "own-echo"
    max_len: ClassVar[int] = 4
    chance: ClassVar[float] = 0.0625

    def sample(self, n, seed):
        tokens = torch.randint(16, (n, 4), generator=torch.Generator().manual_seed(seed))
        return rc.Batch(tokens, None, tokens)
"""
TRAINED = """
import recollect as rc
from own_task import Echo

study = rc.Study(
    "own",
    tasks=Echo(),
    models=rc.models_grid("base-conv", d_model=8, n_layers=1),
    train=rc.TrainConfig(steps=2, batch_size=4, valid_examples=4, test_examples=4),
    search=rc.FixedGrid(rates=[1e-2]),
    seeds=1,
)
rc.run(study, store="own.db", workers=0, progress=False, keep_weights=True)
"""


def test_a_model_of_a_users_task_is_loaded_in_another_process(tmp_path: Path):
    """Its class is imported from the current folder, as that of a mixer."""
    (tmp_path / "own_task.py").write_text(OWN_TASK)
    loaded = (
        "import recollect as rc; print(rc.results('own', store='own.db').model().config.d_model)"
    )
    source = Path(rc.__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{source}"}
    for code in (TRAINED, loaded):
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8"]


def test_the_best_of_several_tasks_is_asked_for_by_key(tmp_path: Path):
    longer = rc.MQAR(seq_len=32, num_kv_pairs=2, vocab_size=64)
    study = quick_study("base-conv", tasks=(TASK, longer), seeds=(1,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = rc.run(study, store=tmp_path / "t.db", workers=0, device="cpu", progress=False)
    with pytest.raises(UserError, match=r"has several tasks .*: give the key of a trial"):
        results.model()
    assert "mqar-32x2-v64" in repr(results).splitlines()[3], "then the table has a column for it"
    with pytest.raises(UserError, match="were not kept: run its study with keep_weights=True"):
        results.model(results.trials["key"].iloc[0])


def test_what_is_not_there_is_said(results, tmp_path: Path):
    with pytest.raises(UserError, match="there is no store"):
        rc.results("quick", store=tmp_path / "none.db")
    with pytest.raises(UserError, match=r"unknown study in .* 'quik': did you mean 'quick'"):
        rc.results("quik", store=results.store)
    with pytest.raises(UserError, match=r"unknown study in .* 'other'"):
        rc.results(quick_study(name="other"), store=results.store)
