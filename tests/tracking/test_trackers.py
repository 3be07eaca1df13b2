"""One suite for all trackers: what was logged is read back from their own files."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from reading import Read, from_tensorboard, from_trackio, from_wandb
from trial import (
    CELL,
    CELL_DONE,
    RATE,
    STEPS,
    STUDY_STARTED,
    TASK,
    ended,
    raised,
    recorded,
    started,
)

from recollect.tracking.trackers import TRACKERS, tracking

ALL = list(range(100, STEPS + 1, 100))


class Tracked:
    """A tracker and what it has of one study."""

    def __init__(self, name: str, study: str, store: Path) -> None:
        self.name, self.study, self.store = name, study, store

    def session(self, *events: list) -> None:
        """A process that runs the study, or a part of it."""
        with tracking(self.name, self.study, self.store) as tell:
            tell(STUDY_STARTED)
            for event in chain(*events):
                tell(event)

    def runs(self) -> list[Read]:
        readers: dict[str, Callable[[], list[Read]]] = {
            "tensorboard": lambda: from_tensorboard(
                self.store.with_name("results.db.tensorboard"), self.study
            ),
            "wandb": lambda: from_wandb(self.study),
            "trackio": lambda: from_trackio(self.study),
        }
        return readers[self.name]()

    def run(self) -> Read:
        (only,) = self.runs()
        return only


@pytest.fixture(params=TRACKERS)
def tracked(request: pytest.FixtureRequest, tmp_path: Path) -> Tracked:
    return Tracked(request.param, f"study-{tmp_path.name}", tmp_path / "results.db")


def assert_is_whole(run: Read) -> None:
    for curve in ("train/loss", "valid/accuracy", "train/learning_rate"):
        assert run.steps(curve) == ALL
    points = dict(run.curves["valid/accuracy"])
    assert points == pytest.approx({step: step / STEPS for step in ALL})
    assert run.final[f"test/{TASK.label}/accuracy"] == pytest.approx(0.875)
    assert run.final["parameters"] == 1234
    assert run.final["status"] == "complete"


def test_a_trial_is_a_run_with_config_curves_and_final_metrics(tracked: Tracked, capsys):
    tracked.session(started(), recorded(100, STEPS), ended(), [CELL_DONE])
    run = tracked.run()
    assert_is_whole(run)
    assert run.config["train.learning_rate"] == pytest.approx(RATE)
    assert run.config["task.seq_len"] == 16
    assert run.config["model.mixer.0.mixer"] == "attention"
    assert run.config["cell.mixer"] == CELL.mixer
    assert run.config["key"] == CELL.key(RATE, 1)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_trials_are_runs_of_their_own(tracked: Tracked):
    tracked.session(
        *(started(seed=1), started(seed=2), recorded(100, STEPS, seed=1)),
        *(recorded(100, STEPS, seed=2), ended(seed=2), ended(seed=1)),
    )
    runs = tracked.runs()
    assert {run.config["seeds.init"] for run in runs} == {1, 2}
    for run in runs:
        assert_is_whole(run)


def test_a_trial_that_is_stopped_and_goes_on_is_one_run(tracked: Tracked):
    tracked.session(
        *(started(until=300), recorded(100, 300), ended(300, "stopped")),
        *(started(), recorded(400, STEPS), ended()),
    )
    assert_is_whole(tracked.run())


def test_a_trial_that_is_stopped_for_good_keeps_its_curves(tracked: Tracked):
    tracked.session(started(until=300), recorded(100, 300), ended(300, "stopped"))
    assert tracked.run().steps("train/loss") == [100, 200, 300]


def test_a_killed_study_that_goes_on_has_each_step_once(tracked: Tracked):
    tracked.session(started(), recorded(100, 500))
    tracked.session(started(), recorded(400, STEPS), ended())
    assert_is_whole(tracked.run())


def test_a_study_that_is_tracked_from_the_middle_on_is_whole(tracked: Tracked):
    tracked.session(started(), recorded(500, STEPS), ended())
    assert_is_whole(tracked.run())


def test_a_failed_trial_keeps_its_curves(tracked: Tracked):
    tracked.session(
        *(started(), recorded(100, 200), raised(again=True)),
        *(started(), recorded(100, 300), raised(again=False)),
    )
    run = tracked.run()
    assert run.steps("train/loss") == [100, 200, 300]
    assert run.final["status"] == "failed"
