"""A study of language models: tuned and stored as any other, by loss."""

import warnings

import pytest
from tiny_training import trial, write_text

from recollect.api.run import load
from recollect.errors import UserError
from recollect.language.text_task import Text
from recollect.models.config import ModelConfig
from recollect.studies.results import cells_frame, history_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import BestRateSearch
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.training.checkpoint import build_model
from recollect.training.config import Seeds, TrainConfig
from recollect.training.data import held_out
from recollect.training.evaluate import evaluate
from recollect.training.population import run_population
from recollect.training.trial import run_trial


def test_the_rate_with_the_lowest_loss_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "kept"))
    task = Text(text=str(write_text(tmp_path)), tokenizer=270, seq_len=8)
    study = Study(
        "texts",
        tasks=[task],
        models=[ModelConfig(mixer="attention", d_model=8, n_layers=1)],
        train=TrainConfig(
            steps=20,
            batch_size=8,
            eval_every=10,
            valid_examples=20,
            test_examples=20,
            stop_accuracy=None,
        ),
        search=BestRateSearch(low=1e-3, high=1e-1, per_decade=1, refine=0, search_seeds=0),
        seeds=(1,),
    )
    with Store(tmp_path / "results.db") as store:
        run_study(study, store, workers=0, device="cpu", keep_weights=True)
        (cell,) = cells_frame(store, "texts").to_dict("records")
        trials, history = trials_frame(store, "texts"), history_frame(store, "texts")
    last = history[history["step"] == 20].set_index("learning_rate")["valid_loss"]
    assert last.max() - last.min() > 0.1, "the rates make a difference"
    assert cell["learning_rate"] == last.idxmin()
    assert cell["finished"]
    (chosen,) = trials[trials["chosen"]].to_dict("records")
    tested = evaluate(
        load(chosen["key"], store=tmp_path / "results.db"), held_out(task, 20, Seeds.of(1), "test")
    )
    assert cell["test_loss"] == chosen["test_loss"] == pytest.approx(tested.loss)
    assert cell["test_accuracy"] == pytest.approx(tested.accuracy)
    assert cell["test_loss"] < task.guess_loss
    assert 0 < cell["test_hit_share"] < 1
    assert cell["test_hit_loss"] == chosen["test_hit_loss"]
    assert 0 < cell["test_hit_loss"] < 1.5 * task.guess_loss
    assert history["valid_hit_loss"].notna().all()


def test_hits_in_a_population_are_those_of_each_model_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "kept"))
    first = trial(write_text(tmp_path), steps=2, eval_every=2, test_examples=8)
    first = first.replace(model=ModelConfig(mixer="mamba", d_model=8, n_layers=1))
    configs = [first, first.replace(train=first.train.replace(learning_rate=1e-3))]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*one model at a time")
        together = dict(run_population(configs))
    for place, config in enumerate(configs):
        alone = run_trial(config)
        (one,), (other,) = alone.test.values(), together[place].test.values()
        valid = alone.valid.further, together[place].valid.further
        for mine, theirs in ((one.further, other.further), valid):
            assert mine["hit_share"] == theirs["hit_share"]
            assert mine["hit_loss"].value == pytest.approx(theirs["hit_loss"].value, rel=1e-4)


def test_windows_without_marks_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLLECT_TEXT", str(tmp_path / "kept"))
    config = trial(write_text(tmp_path))
    with pytest.raises(UserError, match="AR hits are not marked"):
        evaluate(build_model(config), [config.task.sample(2, seed=0)], config.task.metrics)
