"""Suites: the same tuning for every task and mixer, one table, one figure."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from recollect.api.run import run
from recollect.cli.find import find_mixer
from recollect.errors import UserError
from recollect.execution.failure import Failure
from recollect.papers.zoo import plain_model
from recollect.reports.suites import suite_figure, suite_notes, suite_table
from recollect.studies.results import metrics_frame
from recollect.studies.store import Store
from recollect.suites.results import replaced, suite_frame
from recollect.suites.suite import (
    BUDGETS,
    SUITES,
    by_study,
    suite_model,
    suite_parts,
    suite_studies,
)

sys.path.append(str(Path(__file__).parent.parent / "cli"))
from typed import STUDY, typed

pytestmark = pytest.mark.slow

SHORT = ["train.steps=2", "train.eval_every=2", "train.valid_examples=8", "train.test_examples=8"]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", list(SUITES))
def test_every_task_of_a_suite_is_tuned_alike(name, budget):
    studies = suite_studies(name, [plain_model("attention")], budget)
    parts = suite_parts(name, budget)
    searches = {study.search.replace(metric=None).model_dump_json() for study in studies}
    assert len(searches) == 1
    assert len({study.seeds for study in studies}) == 1
    assert sum(len(study.tasks) for study in studies) == len(parts)
    assert len({part.name for part in parts}) == len(parts)
    assert [study.name for study in studies] == list(by_study(name, budget))
    for part in parts:
        assert part.task.chance is not None
        if part.longer is not None:
            assert part.longer.max_len > part.task.max_len


@pytest.mark.parametrize("name", ["recall", "tracking"])
def test_the_chance_of_a_task_of_several_lengths_counts_every_answer(name):
    """As the accuracy does: longer examples have more answers."""
    mixtures = [p.task for p in suite_parts(name, "standard") if len(p.task.components) > 1]
    assert mixtures
    for task in mixtures:
        answers = [component.sample(1, 0).targets.numel() for component in task.components]
        counts = [n * w for n, w in zip(answers, task.component_weights, strict=True)]
        right = sum(c.chance * n for c, n in zip(task.components, counts, strict=True))
        assert task.chance == pytest.approx(right / sum(counts)), task.label


def test_mad_has_its_66_settings():
    studies = suite_studies("mad", [plain_model("attention")], "paper")
    cells = [cell for study in studies for cell in study.cells()]
    steps = {cell.template["train"]["steps"] for cell in cells}
    assert len(cells) == 66
    assert steps == {200 * n // 128 for n in (12_800, 6400, 3200, 256)} | {200 * 13, 200 * 7}


def test_mad_at_the_budget_of_the_paper_is_trained_as_in_its_code():
    model = suite_model("mad", "paper", plain_model("mamba"))
    assert (model.d_model, model.n_layers, model.mlp) == (128, 2, "swiglu")
    assert suite_model("mad", "paper", plain_model("mamba"), 32).d_model == 32
    for study in suite_studies("mad", [model], "paper"):
        assert study.search.rates == (1e-4, 5e-4, 1e-3)
        for cell in study.cells():
            train, task = cell.template["train"], cell.template["task"]
            assert (train["warmup"], train["weight_decay"]) == (0, 0.1)
            assert (train["schedule"], train["schedule_unit"]) == ("cosine", "epoch")
            assert (train["batch_size"], train["test_examples"]) == (128, 1280)
            assert train["decay_all"]
            assert task.get("gaps", "before") == "before"


@pytest.mark.parametrize(("name", "budget"), [("mad", "standard"), ("recall", "paper")])
def test_without_a_protocol_of_its_own_a_suite_has_the_backbone_of_all(name, budget):
    plain = plain_model("mamba")
    assert suite_model(name, budget, plain) == plain
    assert suite_model(name, budget, plain, 32) == plain.replace(d_model=32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two mixers that were run one after the other."""
    path = tmp_path_factory.mktemp("suite") / "s.db"
    words = ["--budget", "quick", "--width", 16, "--store", path, "--workers", 0]
    words += [word for setting in SHORT for word in ("--set", setting)]
    for mixer in ("base-conv", STUDY.replace(":tiny", ":Mean")):
        answer = typed("suite", "tracking", mixer, *words, "--out", path.parent / "out")
        assert answer.code == 0, answer.err
    return path


def test_another_mixer_joins_those_before_it(store):
    with Store(store) as opened:
        found = suite_frame(opened, "tracking", "quick", SHORT)
        with pytest.raises(
            UserError,
            match=r"suite tracking at the quick budget; it has those .* with .* train\.steps=2",
        ):
            suite_frame(opened, "tracking", "quick")  # the budget is another study
    assert set(found["mixer"]) == {"base-conv", "Mean"}
    longer = [f"{name}, length 64" for name in ("parity", "S3", "A5")]
    assert set(found["task"]) == {"parity", "S3", "A5", *longer}
    assert found["accuracy"].between(0, 1).all()
    assert (found["share"] == 1).all()
    settings = [word for setting in SHORT for word in ("--set", setting)]
    words = ["suite", "tracking", "--budget", "quick", "--store", store, "--json"]
    shown = typed(*words, *settings)
    assert len(json.loads(shown.out)["results"]) == len(found) == 12


def test_tasks_with_a_value_set_are_in_the_table(tmp_path):
    """Their labels and chance levels are those of the changed tasks."""
    settings = [*SHORT, "task.vocab_size=80", "num_values=4"]
    words = [word for setting in settings for word in ("--set", setting)]
    place = ["--budget", "quick", "--width", 8, "--store", tmp_path / "s.db", "--workers", 0]
    shown = typed("suite", "recall", "base-conv", *place, *words, "--json")
    assert shown.code == 0, shown.err
    rows = {row["task"]: row for row in json.loads(shown.out)["results"]}
    assert list(rows) == [part.name for part in suite_parts("recall", "quick")]
    parts = {part.name: part.task for part in suite_parts("recall", "quick")}
    assert rows["joint"]["chance"] == parts["joint"].replace(num_values=4).chance
    assert rows["joint"]["chance"] != parts["joint"].chance
    assert all(row["accuracy"] is not None for row in rows.values())


def test_the_table_and_the_figure_are_written(store):
    folder = store.parent / "out"
    stem = f"tracking-quick-{'-'.join(sorted(SHORT))}"
    assert {path.name for path in folder.iterdir()} == {
        f"{stem}.{form}" for form in ("csv", "md", "pdf", "png")
    }
    assert len(pd.read_csv(folder / f"{stem}.csv")) == 12


def test_the_table_says_that_the_reported_seed_chose_the_rates(store):
    settings = [word for setting in SHORT for word in ("--set", setting)]
    words = ["suite", "tracking", "--budget", "quick", "--store", store, *settings]
    shown, data = typed(*words).out, json.loads(typed(*words, "--json").out)
    note, *others = data["notes"]
    assert all(other.startswith("not learnt in ") for other in others)
    most = max(row["choices"] for row in data["results"])
    assert most > 1
    assert note.startswith("learning rates were chosen on the reported seeds, each as the best of")
    assert f"up to {most:.0f}," in note
    (written,) = (store.parent / "out").glob("*.md")
    table, caption, *below = written.read_text().rstrip().split("\n\n")
    assert table.startswith("| mixer | parity | parity, length 64 | S3 |")
    assert caption.startswith("suite tracking, quick budget")
    assert data["notes"] == below
    assert note in " ".join(shown.split())


def test_a_longer_test_has_its_range_over_seeds(tmp_path):
    models = [plain_model("base-conv", 16)]
    parity, *_ = suite_studies("tracking", models, "standard", SHORT)
    run(parity, store=tmp_path / "s.db", workers=0, progress=False)
    with Store(tmp_path / "s.db") as opened:
        found = suite_frame(opened, "tracking", "standard", SHORT).set_index("task")
        measured = metrics_frame(opened, parity.name)
    reported = measured[measured["chosen"] & ~measured["searching"].astype(bool)]
    its = reported[(reported["task"] == "tracking-Z2-128") & (reported["metric"] == "accuracy")]
    assert len(its) == 3
    longer = found.loc["parity, length 128"]
    assert longer["accuracy_min"] == its["value"].min() < its["value"].max()
    assert longer["accuracy_max"] == its["value"].max()
    assert suite_notes(found) == []  # a seed of the search chose


def test_notes_of_what_is_not_known_are_none():
    assert suite_notes(pd.DataFrame([frame(choices=float("nan"))])) == []


OWN = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.scale = {}

    def forward(self, x):
        return self.scale * x
"""
TRACKING = ["suite", "tracking", "--budget", "quick", "--store"]


def recorded(path, name, *models):
    """A store with a suite of which no trial has run; returns the studies."""
    studies = suite_studies(name, models, "quick")
    with Store(path) as opened:
        for study in studies:
            opened.record_study(study.name, "settings", study.cells())
    return studies


@pytest.mark.parametrize("name", ["tracking", "mad"])
def test_depths_have_rows_of_their_own_also_without_results(name, tmp_path):
    gru = plain_model("gru", 16)
    recorded(tmp_path / "s.db", name, gru, gru.replace(n_layers=1), plain_model("griffin", 16))
    with Store(tmp_path / "s.db") as opened:
        found = suite_frame(opened, name, "quick")
    assert found["accuracy"].isna().all()
    headings, rows = suite_table(found)
    assert headings[:2] == ["mixer", "layers"]
    sizes = [(row[0].split()[0], row[1]) for row in rows[:-1]]
    assert sizes == [("gru", "2"), ("gru", "1"), ("griffin", "3")]


def test_two_classes_of_one_name_are_told_apart(tmp_path):
    models, path = [], tmp_path / "s.db"
    for module in ("one", "other"):
        (tmp_path / f"{module}.py").write_text(OWN.format(len(module)))
        models.append(plain_model(find_mixer(f"{tmp_path / module}.py:Mine"), 16))
    with pytest.raises(UserError, match="two mixers have the name Mine: rename the class of one"):
        suite_studies("tracking", models, "quick")
    first, *_ = recorded(path, "tracking", models[0])
    later, *_ = suite_studies("tracking", models[1:], "quick")
    with Store(path) as opened:
        opened.save_failure(first.cells()[0], 1e-3, 42, Failure("no memory"), "cpu")
        opened.record_study(later.name, "settings", later.cells())
        found = suite_frame(opened, "tracking", "quick")
    assert set(found["mixer"]) == {"Mine [one]", "Mine [other]"}
    shown = typed(*TRACKING, path, "--out", tmp_path / "out")
    assert "not shown, because a later run had a mixer of the same name: Mine [one];" in shown.err
    assert "no figure" in shown.err
    assert json.loads(typed(*TRACKING, path, "--json").out)["not_shown"] == ["Mine [one]"]
    with Store(path) as opened:  # only another width of the first is shown
        wider, *_ = suite_studies("tracking", [models[0].replace(d_model=32), models[1]], "quick")
        opened.record_study(wider.name, "settings", wider.cells())
        assert replaced(opened, "tracking", "quick") == ["Mine [one] d_model=16"]


def test_tasks_that_were_not_run_are_named(tmp_path):
    first, *_ = suite_studies("tracking", [plain_model("gru", 16)], "quick")
    with Store(tmp_path / "s.db") as opened:
        opened.record_study(first.name, "settings", first.cells())
    shown = typed(*TRACKING, tmp_path / "s.db")
    assert "not run yet, so not in the table: S3, A5" in shown.err
    assert json.loads(typed(*TRACKING, tmp_path / "s.db", "--json").out)["not_run"] == ["S3", "A5"]


def frame(**changes):
    row = {
        "mixer": "attention",
        "recipe": "",
        "d_model": 64,
        "n_layers": 2,
        "task": "copying",
        "accuracy": 0.5,
        "accuracy_min": 0.25,
        "accuracy_max": 0.75,
        "chance": 0.1,
        "learnt": True,
        "share": 0.4,
        "seeds": 3,
        "learning_rate": 1e-3,
        "budget": 1000,
        "lowest_rate": 1e-4,
        "highest_rate": 1e-1,
        "learnt_searching": 0,
        "searching_seeds": 1,
        "done": True,
        "finished": True,
        "trials": 9,
        "failed": 0,
        "diverged": 0,
    }
    return row | changes


UNKNOWN = {"accuracy": float("nan"), "learning_rate": float("nan")}


@pytest.mark.parametrize(
    ("changes", "entry"),
    [
        ({}, "0.50 (0.25–0.75), 40 %"),
        ({"seeds": 1}, "0.50, 40 %"),
        ({"seeds": 1, "accuracy": 0.996}, "0.99, 40 %"),
        ({"learnt": False}, "not learnt (0.50)"),
        ({"done": False, "finished": False, "seeds": 1}, "0.50, 40 %, unfinished"),
        ({"finished": False, "failed": 2}, "0.50 (0.25–0.75), 40 %, trials failed"),
        (UNKNOWN | {"done": False, "finished": False}, "-"),
        (UNKNOWN | {"finished": False, "failed": 9}, "failed"),
        (UNKNOWN | {"diverged": 9}, "diverged"),
    ],
)
def test_an_entry_tells_spread_and_share(changes, entry):
    assert suite_table(pd.DataFrame([frame(**changes)])) == (
        ["mixer", "copying"],
        [["attention", entry], ["chance level", "0.10"]],
    )


def test_below_the_table_stands_what_was_tried_where_nothing_was_learnt():
    stuck = {"learnt": False, "choices": 1}
    rows = [
        *(frame(task=task, mixer="gla", **stuck) for task in ("depo", "joint", "depo")),
        frame(mixer="gru", highest_rate=1e-2, **stuck),
        frame(mixer="rwkv7", task="joint", learnt_searching=1, **stuck),
        frame(choices=1),
    ]
    assert suite_notes(pd.DataFrame(rows)) == [
        "not learnt in 1,000 steps at rates 1e-4 to 1e-1: gla (depo, joint)",
        "not learnt in 1,000 steps at rates 1e-4 to 1e-2: gru (copying)",
        "not learnt in 1,000 steps at rates 1e-4 to 1e-1"
        " (left the plateau on 1 of 1 seeds of the search): rwkv7 (joint)",
    ]


def test_the_figure_has_a_point_for_each_mixer_and_task():
    rows = [frame(mixer=m, task=t) for m in ("attention", "mamba") for t in ("copying", "depo")]
    ax = suite_figure(pd.DataFrame(rows)).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["depo", "copying"]
    assert len(ax.lines) == 4


def test_depths_widths_and_recipes_of_a_mixer_are_told_apart_in_the_figure():
    rows = [frame(d_model=32), frame(d_model=64), frame(d_model=64, recipe="short_conv=3")]
    rows += [frame(n_layers=1, mixer="gru"), frame(mixer="gru")]
    figure = suite_figure(pd.DataFrame(rows))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:5] == [
        "attention [d_model=32]",
        "attention [d_model=64]",
        "attention [short_conv=3, d_model=64]",
        "gru [n_layers=1]",
        "gru [n_layers=2]",
    ]
    places = [line.get_ydata()[0] for line in figure.axes[0].lines]
    assert len(set(places)) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recal"], "unknown suite 'recal': did you mean 'recall'"),
        (["recall", "attention", "--budget", "fast"], "unknown budget 'fast'"),
        (["recall", "atention"], "did you mean 'attention'"),
        (["recall"], "there is no"),
        (["recall", "mamba", "--adapt", "state=hx"], "--adapt state=hx needs a class to adapt"),
        (["recall", "griffin(windoww=4)"], "unknown option of griffin 'windoww'"),
    ],
)
def test_what_there_is_not(tmp_path, words, message):
    answer = typed("suite", *words, "--store", tmp_path / "none.db")
    assert answer.code == 2
    assert message in answer.err


def test_all_suites_are_listed():
    assert set(json.loads(typed("suite", "--json").out)) == set(SUITES)
