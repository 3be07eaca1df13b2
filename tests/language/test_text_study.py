"""A study of language models: tuned and stored as any other, by loss."""

import pytest
from tiny_training import write_text

from recollect.api.run import load
from recollect.language.text_task import Text
from recollect.models.config import ModelConfig
from recollect.studies.results import cells_frame, history_frame, trials_frame
from recollect.studies.runner import run_study
from recollect.studies.search import BestRateSearch
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.training.config import Seeds, TrainConfig
from recollect.training.data import held_out
from recollect.training.evaluate import evaluate


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
