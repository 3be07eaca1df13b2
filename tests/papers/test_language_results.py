"""Rates and tables of language models that share a store, or whose text has changed."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from recollect.errors import UserError
from recollect.language.document_sums import DocumentSums
from recollect.language.text_task import open_text
from recollect.models.config import ModelConfig
from recollect.papers.language_plan import TUNING_SEED, LanguagePlan, Tuning
from recollect.papers.language_results import (
    PLAN_FILE,
    SUMS_FILE,
    TABLES,
    chosen_rates,
    is_measured,
    measure,
    read_results,
)
from recollect.studies.search import BestRateSearch
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.training.config import TrainConfig
from recollect.training.result import Metrics, Record, TrialResult

MODELS = {
    name: ModelConfig(mixer=name, d_model=8, n_layers=1)
    for name in ("attention", "hyena", "base-conv")
}
BEST = {"attention": 1e-3, "hyena": 1e-2, "base-conv": 1e-1}
LINES = [f"{i} times the cat sat on the mat {i * 7919}" for i in range(150)]


@pytest.fixture(autouse=True)
def _texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "b.jsonl"):
        write_text(name)


def write_text(name: str, more: Sequence[str] = ()) -> None:
    with open(name, "w") as file:
        file.writelines(json.dumps({"text": line}) + "\n" for line in [*LINES, name, *more])
    open_text.cache_clear()


def plan(text: str, models: Sequence[str] = tuple(MODELS)) -> LanguagePlan:
    return LanguagePlan(
        name="made",
        title="Made up",
        text=text,
        tokenizer=260,
        context=8,
        models={name: MODELS[name] for name in models},
        train=TrainConfig(steps=4, eval_every=2, valid_examples=8, stop_accuracy=None),
        tuning=Tuning(
            search=BestRateSearch(
                low=1e-3, high=1e-1, per_decade=1, rungs=(), refine=0, search_seeds=0
            ),
            steps=2,
        ),
    )


def fill(store: Store, study: Study, shift: float = 1.0, diverged: str = "") -> None:
    """All that the study asks for; each mixer does best at its rate in `BEST`, times `shift`, but
    for one that diverges."""
    store.record_study(study.name, "made", study.cells())
    for cell in study.cells():
        while (asked := cell.plan(store.trials(cell))).requests:
            for request in asked.requests:
                miss = math.log10(request.learning_rate / (BEST[cell.mixer] * shift))
                metrics = Metrics(1 + abs(miss), 0.5, 0.0)
                records = [
                    Record(step, request.learning_rate, 1.0, metrics, 0.1)
                    for step in range(1, cell.steps + 1)
                ]
                result = TrialResult(
                    key="",
                    status="diverged" if cell.mixer == diverged else "complete",
                    step=cell.steps,
                    history=tuple(records),
                    test={cell.task: metrics},
                    parameters=1,
                    device="cpu",
                    seconds=1.0,
                )
                store.save(cell, request.learning_rate, request.seed, result)


def test_each_model_has_its_own_rate_whatever_else_the_store_has(tmp_path):
    plans = [plan("b.jsonl"), plan("a.jsonl"), plan("a.jsonl", ["base-conv", "attention"])]
    with Store(tmp_path / "s.db") as store:
        for each, shift in zip(plans, (10.0, 1.0, 1.0), strict=True):
            fill(store, *each.studies(), shift)
        assert chosen_rates(plans[1], store) == pytest.approx([1e-3, 1e-2, 1e-1])
        assert chosen_rates(plans[2], store) == pytest.approx([1e-1, 1e-3])
        assert chosen_rates(plans[0], store)[:2] == pytest.approx([1e-2, 1e-1])
        write_text("a.jsonl", ["one more"])
        with pytest.raises(UserError, match="lacks trials of made with these settings"):
            chosen_rates(plans[1], store)


def test_tables_of_another_content_of_the_text_do_not_count(tmp_path):
    asked, rates = plan("a.jsonl"), [1e-3, 1e-3, 1e-3]
    folder = asked.folder(tmp_path / "s.db")
    before = [trial.key for _, trial in asked.trials(rates)]
    sums = DocumentSums(("attention",), (None,), np.ones((2, 3), int), np.ones((1, 2, 3)))
    with Store(tmp_path / "s.db") as store:
        assert not is_measured(asked, store, rates)
        folder.mkdir(parents=True)
        keys = pd.DataFrame({"key": before})
        for name in TABLES:
            keys.assign(max_train_count=1).to_csv(folder / f"{name}.csv", index=False)
        sums.write(folder / SUMS_FILE)
        (folder / PLAN_FILE).write_text("{}")
        assert is_measured(asked, store, rates)
        write_text("a.jsonl", ["one more"])
        assert asked.folder(store.path) == folder
        assert not {trial.key for _, trial in asked.trials(rates)} & {*before}
        assert not is_measured(asked, store, rates)
        assert not read_results(asked, store.path).tables


def test_another_trainer_has_no_tables_yet(tmp_path, monkeypatch):
    before = plan("a.jsonl").folder(tmp_path / "s.db")
    monkeypatch.setattr("recollect.papers.language_plan.NUMERICS", 99)
    assert plan("a.jsonl").folder(tmp_path / "s.db") != before


def test_each_model_is_trained_at_its_rate_on_its_seeds():
    asked = plan("a.jsonl").replace(seeds=(1, 2, 3), repeated=("attention", "hyena"))
    rates = [1e-3, 2e-3, 3e-3]
    cells = asked.trainings(rates).cells()
    assert [(cell.mixer, cell.seeds, cell.search.rates) for cell in cells] == [
        ("attention", (1, 2, 3), (1e-3,)),
        ("hyena", (1, 2, 3), (2e-3,)),
        ("base-conv", (1,), (3e-3,)),
    ]
    named = [(model, trial.seeds.init) for model, trial in asked.trials(rates)]
    assert named == [
        *(("attention", i) for i in (1, 2, 3)),
        *(("hyena", i) for i in (1, 2, 3)),
        ("base-conv", 1),
    ]
    keys = [cell.key(rate, i) for cell, rate in zip(cells, rates, strict=True) for i in cell.seeds]
    assert keys == [trial.key for _, trial in asked.trials(rates)], "as earlier versions have them"
    assert len({*keys}) == 7


def test_models_are_compared_when_all_are_trained(tmp_path):
    asked, rates = plan("a.jsonl"), [1e-3, 1e-2, 1e-1]
    with Store(tmp_path / "s.db") as store:
        study = asked.trainings(rates)
        store.record_study(study.name, "made", study.cells())
        with pytest.raises(UserError, match="lacks trials of made-trained with these"):
            measure(asked, store, rates, device="cpu", on_progress=lambda *_: None)
        fill(store, study, diverged="hyena")
        with pytest.raises(UserError, match=r"every learning rate of hyena diverged in made-tr"):
            measure(asked, store, rates, device="cpu", on_progress=lambda *_: None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": (1, 1)}, "each once"),
        ({"seeds": (1, TUNING_SEED)}, "which serves to choose learning rates"),
        (
            {"repeated": ("attention", "mamba")},
            "repeated has mamba, but the models are attention",
        ),
        ({"repeated": ("hyena",)}, "repeated lacks attention"),
    ],
)
def test_seeds_that_make_no_sense(changes, said):
    with pytest.raises(UserError, match=said):
        plan("a.jsonl").replace(**changes)
