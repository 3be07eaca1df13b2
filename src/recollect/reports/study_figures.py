"""The figures of a study by the names of their kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from recollect.errors import UserError, unknown
from recollect.reports.attention_map import attention_map_figure
from recollect.reports.bench_file import read_bench
from recollect.reports.capacity import capacity_figure, capacity_lines, with_capacity
from recollect.reports.cell_names import cell_name
from recollect.reports.dynamics import dynamics_figure
from recollect.reports.figures import (
    ACCURACY,
    accuracy_figure,
    learning_rate_figure,
    training_figure,
)
from recollect.reports.gaps import gaps_figure
from recollect.reports.kinds import ALL_KINDS, CAPACITY, STATE, TRADEOFF
from recollect.reports.state import EMPTY, state_figure, state_lines, with_state
from recollect.reports.tables import plural
from recollect.reports.tradeoff import task_lengths, tradeoff_figure, with_costs
from recollect.studies.observations import StudyObservations, study_observations
from recollect.studies.results import (
    Listed,
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


class Drawable(Protocol):
    """The results that figures are drawn from; frames are those of `studies.results`."""

    @property
    def study(self) -> str:
        """The name of the study."""

    @property
    def listed(self) -> Sequence[Cell]:
        """The cells of the study."""

    @property
    def cells(self) -> pd.DataFrame:
        """One row per cell."""

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial."""

    @property
    def history(self) -> pd.DataFrame:
        """One row per validation."""

    def observations(self) -> StudyObservations:
        """The observations made during training."""


class StudyFrames:
    """The frames of a study in an open store, each read at its first use.

    Args:
        store: the store.
        study: the name of a study, for the cells that the store lists under it; or its cells.

    Raises:
        UserError: if the store has no such study.
    """

    def __init__(self, store: Store, study: str | Listed) -> None:
        self._store = store
        self._study = Listed(study, store.cells(study)) if isinstance(study, str) else study

    @property
    def study(self) -> str:
        """The name of the study."""
        return self._study.name

    @property
    def listed(self) -> Sequence[Cell]:
        """The cells of the study."""
        return self._study.cells()

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell."""
        return cells_frame(self._store, self._study)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial."""
        return trials_frame(self._store, self._study)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per validation."""
        return history_frame(self._store, self._study)

    def observations(self) -> StudyObservations:
        """The observations made during training."""
        return study_observations(self._store, self._study)


def _attention_map(found: Drawable) -> Figure:
    seen = found.observations()
    return attention_map_figure(seen.trials, seen.maps)


FIGURES: dict[str, Callable[[Drawable], Figure]] = {
    "accuracy": lambda found: accuracy_figure(found.cells),
    "learning-rate": lambda found: learning_rate_figure(found.cells, found.trials),
    "training": lambda found: training_figure(found.cells, found.history),
    "dynamics": lambda found: dynamics_figure(
        found.cells, found.history, found.observations().dynamics
    ),
    "attention-map": _attention_map,
    "gaps": lambda found: gaps_figure(found.cells, found.observations().dynamics),
}
"""How each kind of `kinds.KINDS` and `kinds.OBSERVED` is drawn."""


def study_figure(
    kind: str, found: Drawable, bench: Path | None = None, metric: str = ACCURACY
) -> tuple[Figure, list[str]]:
    """Draw a figure of a study.

    Args:
        kind: one of `kinds.ALL_KINDS`.
        found: the results of the study.
        bench: for the kind "tradeoff", the file of `recollect bench mixers --out FILE`.
        metric: for the kind "accuracy", accuracy or a further metric of the study.

    Returns:
        The figure, and lines about cells that it leaves out; for "capacity", lines with its
        numbers.

    Raises:
        UserError: for an unknown kind, if the study has no result yet, or if observations or
            measurements that the kind needs are missing.
    """
    if kind not in ALL_KINDS:
        raise unknown("kind of figure", kind, ALL_KINDS)
    if (kind == TRADEOFF) != (bench is not None):
        raise UserError(
            f"{kind}, bench={bench}: the figure {TRADEOFF} needs the file that `recollect bench"
            " mixers --out FILE` writes; other figures take no file"
        )
    cells = found.cells
    known = [ACCURACY, *further_metrics(cells)]
    if metric not in known:
        raise unknown(f"metric of {found.study}", metric, known)
    if metric != ACCURACY and kind != "accuracy":
        raise UserError(f"metric={metric!r} needs the kind 'accuracy', not {kind!r}")
    if cells["test_accuracy"].isna().all():
        raise UserError(f"no cell of {found.study} has a result to draw: see its table")
    if bench is not None:
        cells = with_costs(cells, read_bench(bench), task_lengths(found.listed))
        unseen = [*_not_measured(cells, bench), *_without_state(cells)]
        return tradeoff_figure(cells), [*unseen, *_without_result(cells)]
    if kind == CAPACITY:
        cells = with_capacity(cells, found.trials, found.listed)
        return capacity_figure(cells), [*capacity_lines(cells), *_without_result(cells)]
    if kind == STATE:
        cells = with_state(cells, found.listed)
        return state_figure(cells), [*state_lines(cells), *_without_result(cells)]
    figure = FIGURES[kind](found) if metric == ACCURACY else accuracy_figure(cells, metric)
    return figure, [*_without_result(cells)]


def _without_result(cells: pd.DataFrame) -> Iterator[str]:
    """Lines about cells that cannot be drawn because their trials failed or diverged."""
    lost = (cells["failed"] > 0) | (cells["diverged"] > 0)
    for cell in cells[cells["test_accuracy"].isna() & lost].itertuples():
        counts = {"failed": cell.failed, "diverged": cell.diverged}
        became = " and ".join(f"{number} {what}" for what, number in counts.items() if number)
        yield (
            f"not drawn: {cell_name(cell, cells)} on {cell.task}"
            f" ({plural(cell.trials, 'trial')}: {became})"
        )


def _not_measured(cells: pd.DataFrame, bench: Path) -> Iterator[str]:
    """A line about cells that cannot be drawn because their mixer was not measured."""
    missing = cells[cells["state"].isna()]
    names = dict.fromkeys(cell_name(cell, cells) for cell in missing.itertuples())
    if names:
        yield f"not drawn, because not measured in {bench}: {', '.join(names)}"


def _without_state(cells: pd.DataFrame) -> Iterator[str]:
    """A line about cells that are only in the left panels of the tradeoff."""
    empty = cells[cells["state"] == 0]
    names = dict.fromkeys(cell_name(cell, cells) for cell in empty.itertuples())
    if names:
        yield f"not drawn in the right panels, {EMPTY}: {', '.join(names)}"
