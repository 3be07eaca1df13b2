"""The figures of a study by the names of their kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from recollect.errors import UserError, unknown
from recollect.reports.attention_map import attention_map_figure
from recollect.reports.bench_file import read_bench
from recollect.reports.capacity import capacity_figure, capacity_lines, with_capacity
from recollect.reports.dynamics import dynamics_figure
from recollect.reports.figures import (
    ACCURACY,
    accuracy_figure,
    learning_rate_figure,
    training_figure,
)
from recollect.reports.gaps import gaps_figure
from recollect.reports.state import state_figure, state_lines, with_state
from recollect.reports.tables import plural
from recollect.reports.tradeoff import task_lengths, tradeoff_figure, with_costs
from recollect.studies.observations import StudyObservations, study_observations
from recollect.studies.results import (
    cells_frame,
    further_metrics,
    history_frame,
    trials_frame,
)

if TYPE_CHECKING:
    import pandas as pd

    from recollect.reports.canvas import Figure
    from recollect.studies.cell import Cell
    from recollect.studies.store import Store

KINDS = ("accuracy", "learning-rate", "training")
OBSERVED = ("dynamics", "attention-map", "gaps")
"""The kinds of figures that need a study to be observed in training."""
TRADEOFF = "tradeoff"
"""The kind of figure that needs a benchmark beside the study."""
CAPACITY = "capacity"
STATE = "state"
"""The kinds of figures for which the models' states are measured."""
ALL_KINDS = (*KINDS, *OBSERVED, TRADEOFF, CAPACITY, STATE)


class Drawable(Protocol):
    """What figures are drawn from; the frames are those of `studies.results`."""

    @property
    def study(self) -> str:
        """The name of the study."""

    @property
    def listed(self) -> Sequence[Cell]:
        """What the study consists of."""

    @property
    def cells(self) -> pd.DataFrame:
        """A row for each cell."""

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial."""

    @property
    def history(self) -> pd.DataFrame:
        """A row for each validation."""

    def observations(self) -> StudyObservations:
        """What was observed in training."""


class StudyFrames:
    """The frames of a study in an open store, each read when it is first asked for."""

    def __init__(self, store: Store, study: str) -> None:
        self.study, self._store = study, store

    @cached_property
    def listed(self) -> Sequence[Cell]:
        """What the study consists of."""
        return self._store.cells(self.study)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row for each cell."""
        return cells_frame(self._store, self.study)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each trial."""
        return trials_frame(self._store, self.study)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each validation."""
        return history_frame(self._store, self.study)

    def observations(self) -> StudyObservations:
        """What was observed in training."""
        return study_observations(self._store, self.study)


def study_figure(
    kind: str, found: Drawable, bench: Path | None = None, metric: str = ACCURACY
) -> tuple[Figure, list[str]]:
    """A figure of a study.

    Args:
        kind: one of `ALL_KINDS`.
        found: the results of the study.
        bench: for the kind "tradeoff", what `recollect bench mixers --out FILE` has written.
        metric: what the kind "accuracy" shows: accuracy, or a further metric of the study.

    Returns:
        The figure, and in words what it does not show; of the capacity, its numbers.

    Raises:
        UserError: for an unknown kind; if the study has no result yet, was not observed where the
            kind needs that, or has no mixer that was measured.
    """
    if kind not in ALL_KINDS:
        raise unknown("kind of figure", kind, ALL_KINDS)
    if (kind == TRADEOFF) != (bench is not None):
        raise UserError(
            f"{kind}, bench={bench}: the figure {TRADEOFF} needs the file that `recollect bench"
            " mixers --out FILE` writes, and no other takes one"
        )
    cells = found.cells
    known = [ACCURACY, *further_metrics(cells)]
    if metric not in known:
        raise unknown(f"metric of {found.study}", metric, known)
    if metric != ACCURACY and kind != "accuracy":
        raise UserError(f"metric={metric!r} is for the kind 'accuracy', and this is {kind!r}")
    if cells["test_accuracy"].isna().all():
        raise UserError(f"no cell of {found.study} has a result to draw: its table says why")
    if bench is not None:
        cells = with_costs(cells, read_bench(bench), task_lengths(found.listed))
        return tradeoff_figure(cells), [*_not_measured(cells, bench)]
    if kind == CAPACITY:
        cells = with_capacity(cells, found.trials, found.listed)
        return capacity_figure(cells), [*capacity_lines(cells)]
    if kind == STATE:
        cells = with_state(cells, found.listed)
        return state_figure(cells), [*state_lines(cells)]
    return _figure(kind, found, metric), [*_without_result(cells)]


def _figure(kind: str, found: Drawable, metric: str) -> Figure:
    if kind == "accuracy":
        return accuracy_figure(found.cells, metric)
    if kind == "learning-rate":
        return learning_rate_figure(found.cells, found.trials)
    if kind == "training":
        return training_figure(found.cells, found.history)
    seen = found.observations()
    if kind == "dynamics":
        return dynamics_figure(found.cells, found.history, seen.dynamics)
    if kind == "gaps":
        return gaps_figure(found.cells, seen.dynamics)
    return attention_map_figure(seen.trials, seen.maps)


def _without_result(cells: pd.DataFrame) -> Iterator[str]:
    """The cells that have nothing to be drawn, as their trials failed or diverged."""
    lost = (cells["failed"] > 0) | (cells["diverged"] > 0)
    for cell in cells[cells["test_accuracy"].isna() & lost].itertuples():
        counts = {"failed": cell.failed, "diverged": cell.diverged}
        became = " and ".join(f"{number} {what}" for what, number in counts.items() if number)
        yield (
            f"without a result to draw: {cell.mixer} at d_model {cell.d_model} on {cell.task}, of"
            f" {plural(cell.trials, 'trial')} {became}"
        )


def _not_measured(cells: pd.DataFrame, bench: Path) -> Iterator[str]:
    """The cells that have no place in the figure, as their mixer was not measured."""
    missing = cells[cells["state"].isna()]
    names = dict.fromkeys(
        f"{cell.mixer} at d_model {cell.d_model}" for cell in missing.itertuples()
    )
    if names:
        yield f"not in {bench}: {', '.join(names)}"
