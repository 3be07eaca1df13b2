"""Listeners and trackers of a study that is trained."""

import warnings
from pathlib import Path

import pytest

import recollect as rc

pytestmark = pytest.mark.slow


def study() -> rc.Study:
    return rc.Study(
        "small",
        tasks=[rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)],
        models=rc.models_grid(["attention"], d_model=[8]),
        train=rc.TrainConfig(
            steps=4, batch_size=8, eval_every=2, valid_examples=16, test_examples=16
        ),
        search=rc.FixedGrid(rates=(1e-3, 1e-2)),
        seeds=(1,),
    )


def test_a_listener_that_raises_loses_no_result(tmp_path: Path):
    heard = []

    def listen(event: rc.events.Event) -> None:
        heard.append(event)
        if isinstance(event, rc.events.TrialEnded):
            raise ZeroDivisionError("a bug of the listener")

    store = tmp_path / "results.db"
    with pytest.warns(UserWarning, match="on_event raised an exception at TrialEnded") as caught:
        results = rc.run(study(), store=store, workers=0, progress=False, on_event=listen)
    assert "a bug of the listener" in str(caught[0].message)
    assert len(caught) == 1
    assert isinstance(heard[0], rc.events.StudyStarted)
    assert sum(isinstance(event, rc.events.TrialEnded) for event in heard) == 1
    assert list(results.trials["status"]) == ["complete", "complete"]


def test_a_listener_that_interrupts_ends_the_study_with_its_results_stored(tmp_path: Path):
    def listen(event: rc.events.Event) -> None:
        if isinstance(event, rc.events.TrialEnded):
            raise KeyboardInterrupt

    store = tmp_path / "results.db"
    with pytest.raises(KeyboardInterrupt):
        rc.run(study(), store=store, workers=0, progress=False, on_event=listen)
    with rc.Store(store) as opened:
        assert list(rc.trials_frame(opened, "small")["status"]) == ["complete"]


def test_a_study_is_tracked_and_what_is_logged_is_what_is_stored(tmp_path: Path):
    from reading import from_tensorboard

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = rc.run(
            study(),
            store=tmp_path / "results.db",
            workers=0,
            progress=False,
            track="tensorboard",
        )
    runs = from_tensorboard(tmp_path / "results.db.tensorboard", "small")
    logged = {run.config["key"]: run for run in runs}
    assert len(runs) == len(results.trials) == 2
    for row in results.history.itertuples():
        points = dict(logged[row.key].curves["valid/loss"])
        assert points[row.step] == pytest.approx(row.valid_loss)
    for row in results.trials.itertuples():
        task = logged[row.key].config["cell.task"]
        assert logged[row.key].final[f"test/{task}/accuracy"] == pytest.approx(row.test_accuracy)
