"""Nothing that a tracker or a listener does ends a study or takes long from it."""

import sys
import threading
import time
import warnings
from collections import namedtuple
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from trial import STEPS, ended, recorded, started

from recollect.errors import UserError
from recollect.studies.events import Event, OnEvent
from recollect.tracking import weights_and_biases
from recollect.tracking.tensorboard import TensorBoard
from recollect.tracking.tracker import OpenRun, Tracker
from recollect.tracking.trackers import tracking

pytestmark = pytest.mark.slow

EVENTS = [*started(), *recorded(100, STEPS), *ended()]


def track(open_run: OpenRun, events: Iterable[Event] = EVENTS, **options) -> None:
    with Tracker("mine", "study", open_run, **options) as tracker:
        tell_all(tracker.show, events)


def tell_all(tell: OnEvent, events: Iterable[Event] = EVENTS) -> None:
    for event in events:
        tell(event)
        time.sleep(0.001)  # the thread of the tracker gets its turn


def warned_by(name: str, store: Path, events: Iterable[Event] = EVENTS) -> list[str]:
    """The warnings of a tracker."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with tracking(name, f"study-{store.parent.name}", store) as tell:
            tell_all(tell, events)
    return [str(each.message) for each in caught]


class Failing:
    """A run of a tracker that raises at some call."""

    last_step = 0

    def __init__(self, at: str) -> None:
        self.at = at

    def _call(self, name: str) -> None:
        if name == self.at:
            raise ConnectionError("no network")

    def log(self, _step: int, _values: Mapping[str, float]) -> None:
        self._call("log")

    def pause(self) -> None:
        self._call("pause")

    def end(self, _status: str, _step: int, _values: Mapping[str, float]) -> None:
        self._call("end")

    def close(self) -> None:
        self._call("close")


def failing(at: str):
    def open_run(_trial):
        if at == "open":
            raise ConnectionError("no network")
        return Failing(at)

    return open_run


@pytest.mark.parametrize("at", ["open", "log", "pause", "end", "close"])
def test_a_tracker_that_fails_warns_once(at: str):
    stopped = [*started(300, seed=2), *recorded(100, 300, seed=2), *ended(300, "stopped", seed=2)]
    with pytest.warns(UserWarning, match=r"^mine failed .*no network") as caught:
        track(failing(at), [*stopped, *EVENTS])
    assert len(caught) == 1


def test_a_full_disk_warns_once(tmp_path: Path):
    def open_run(trial):
        run = TensorBoard(tmp_path)(trial)
        run.path.symlink_to("/dev/full")
        return run

    with pytest.warns(UserWarning, match="No space left on device") as caught:
        track(open_run)
    assert len(caught) == 1


def test_a_study_waits_for_no_tracker():
    network = threading.Event()

    def open_run(_trial):
        network.wait(60)
        return Failing("never")

    begin = time.monotonic()
    with pytest.warns(UserWarning, match="some values were not sent within 0.2 seconds"):
        track(open_run, patience=0.2)
    took = time.monotonic() - begin
    network.set()
    assert took < 10  # opening alone takes 60


def test_an_error_of_the_study_is_not_hidden():
    def interrupted():
        yield EVENTS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track(failing("never"), interrupted())


def test_an_unknown_tracker_is_refused_with_the_choices():
    with (
        pytest.raises(UserError, match="did you mean 'wandb'"),
        tracking("wanb", "study", Path("results.db")),
    ):
        pass


def test_a_missing_package_is_refused_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(UserError, match=r"pip install '\.\[wandb\]'"),
        tracking("wandb", "study", Path("results.db")),
    ):
        pass


def test_wandb_without_a_key_is_refused_and_asks_nobody(monkeypatch: pytest.MonkeyPatch):
    import wandb

    asked = []
    monkeypatch.setattr(wandb.setup().settings, "mode", "online")
    monkeypatch.setattr(wandb, "login", lambda **options: asked.append(options) or False)
    with (
        pytest.raises(UserError, match="run `wandb login`, or set WANDB_MODE=offline"),
        tracking("wandb", "study", Path("results.db")),
    ):
        pass
    assert asked == [{"prompt": False}]


def test_a_server_that_does_not_answer_warns_once(tmp_path: Path, monkeypatch):
    import wandb

    def login(**_options):
        raise ConnectionError("no network")

    monkeypatch.setattr(wandb.setup().settings, "mode", "online")
    monkeypatch.setattr(wandb, "login", login)
    (message,) = warned_by("wandb", tmp_path / "results.db")
    assert message.startswith("wandb failed")
    assert "no network" in message


def test_a_disk_that_wandb_cannot_write_warns_once(tmp_path: Path, monkeypatch):
    free = iter([2**30] * 8 + [0])  # the disk is full when the trial ends
    usage = namedtuple("Usage", "free")
    monkeypatch.setattr(weights_and_biases, "disk_usage", lambda _: usage(next(free)))
    (message,) = warned_by("wandb", tmp_path / "results.db")
    assert "No space left on device" in message


def test_a_disk_that_trackio_cannot_write_warns_once(tmp_path: Path, monkeypatch):
    import trackio

    def log(*_args, **_options):
        raise OSError("no space left on device")

    monkeypatch.setattr(trackio.sqlite_storage.SQLiteStorage, "bulk_log", log)
    events = [*EVENTS, *started(seed=2), *recorded(100, STEPS, seed=2), *ended(seed=2)]
    (message,) = warned_by("trackio", tmp_path / "results.db", events)
    assert "no space left on device" in message
