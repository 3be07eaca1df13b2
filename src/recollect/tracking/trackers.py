"""The available trackers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recollect.errors import UserError, unknown
from recollect.studies.events import OnEvent
from recollect.tracking.tensorboard import TensorBoard
from recollect.tracking.tracker import OpenRun, Tracker, warn_of
from recollect.tracking.trackio import Trackio
from recollect.tracking.weights_and_biases import WeightsAndBiases

TRACKERS: dict[str, Callable[[Path], OpenRun]] = {
    "trackio": lambda _: Trackio(),
    "wandb": lambda _: WeightsAndBiases(),
    "tensorboard": lambda store: TensorBoard(store.with_name(f"{store.name}.tensorboard")),
}


@contextmanager
def tracking(name: str | None, study: str, store: Path) -> Iterator[OnEvent]:
    """Yield a function that sends events to a tracker, for `run_study(..., on_event=)`.

    Args:
        name: the tracker; None: no tracker.
        study: the name of the study.
        store: the file of results; TensorBoard's folder lies beside it.

    Raises:
        UserError: for an unknown tracker, a missing package, or a server without an API key.
    """
    if name is None:
        yield lambda _: None
        return
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    try:
        open_run = TRACKERS[name](store)
    except UserError:
        raise
    except Exception as error:  # such as a server that does not answer
        warn_of(name, error)
        yield lambda _: None
        return
    with Tracker(name, study, open_run) as tracker:
        yield tracker.show
