"""The up-to-date plans of the cells of a running study."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recollect.studies.cell import Cell
from recollect.studies.replay import WAITING, Plan, Request, Trial
from recollect.studies.stored_trial import StoredTrial
from recollect.studies.widths import rate_from

Stored = Mapping[Trial, StoredTrial]
"""The stored trials of a cell."""


@dataclass(frozen=True)
class Asked:
    """A trial that a cell needs up to a step.

    Attributes:
        cell: the cell.
        request: rate, seed and step.
        key: key of the trial.
    """

    cell: Cell
    request: Request
    key: str

    @property
    def title(self) -> str:
        """Name of the trial in messages."""
        return f"{self.cell.label} at {self.request.learning_rate:g}, seed {self.request.seed}"


class Board:
    """Plans of the cells of a run. Only cells with new outcomes are planned again.

    Args:
        cells: cells of the run, the most urgent first.
        narrow: by the label of a cell, the cell whose chosen rate its search begins with
            (`widths`).
        read: returns the stored trials of a cell.
        on_plan: called with every plan and the trials that it was made from.

    Attributes:
        plans: plan of each cell, by label.
        running: trials that have started and not ended, by key.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        narrow: Mapping[str, Cell],
        read: Callable[[Cell], Stored],
        on_plan: Callable[[Cell, Plan, Stored], None],
    ) -> None:
        self._cells = {cell.label: cell for cell in cells}
        self._places = {label: place for place, label in enumerate(self._cells)}
        self._narrow, self._read, self._on_plan = narrow, read, on_plan
        self._wide = {narrow[label].label: label for label in self._cells if label in narrow}
        self._outdated = {*self._cells}
        self._open = dict(self._cells)
        self._asked: dict[str, list[Asked]] = {}
        self._ready: list[int] = []
        self._labels = list(self._cells)
        self._labels_of: dict[str, set[str]] = {}
        for cell in cells:
            self._labels_of.setdefault(cell.id, set()).add(cell.label)
        self.plans: dict[str, Plan] = {}
        self.running: dict[str, Asked] = {}

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def done(self) -> int:
        """Number of cells that need no more trials."""
        return len(self) - len(self._open)

    @property
    def failed(self) -> int:
        """Number of failed trials."""
        return sum(len(self.plans[label].failed) for label in self._cells)

    def outdate(self, ids: Iterable[str]) -> None:
        """Mark the plans of cells with these identities as out of date."""
        for each in ids:
            self._outdated |= self._open.keys() & self._labels_of.get(each, frozenset())

    def replan(self) -> list[Cell]:
        """Plan the outdated cells again, the narrowest first; returns those that are now done."""
        order = lambda label: (self._cells[label].d_model, self._places[label])  # noqa: E731
        outdated = sorted(self._outdated, key=order)
        self._outdated.clear()
        done = []
        for label in outdated:
            cell = self._cells[label]
            stored = self._read(cell)
            plan = self._plan(cell, stored)
            self._note(label, plan)
            self._on_plan(cell, plan, stored)
            if plan.done:
                done.append(cell)
                wide = self._wide.get(label)
                if wide is not None and wide not in outdated:
                    outdated.append(wide)
        return done

    def asked(self) -> Iterator[Asked]:
        """Trials that are needed and not running, in the order of the cells."""
        for place in list(self._ready):
            yield from list(self._asked.get(self._labels[place], ()))

    def start(self, asked: Asked) -> None:
        """Mark a trial as running."""
        self.running[asked.key] = asked
        label = asked.cell.label
        self._set(label, [each for each in self._asked[label] if each.key != asked.key])

    def end(self, key: str) -> Asked:
        """Mark a running trial as ended, and all cells with its trials as outdated."""
        asked = self.running.pop(key)
        self._outdated.add(asked.cell.label)
        self.outdate([asked.cell.id])
        return asked

    def _plan(self, cell: Cell, stored: Stored) -> Plan:
        """Plan a cell around the rate of the next smaller width; waits until that is known."""
        narrow = self._narrow.get(cell.label)
        if narrow is None:
            return cell.plan(stored)
        if narrow.label in self.plans:
            before = self.plans[narrow.label]
            if not before.done:
                return WAITING
        else:  # only a part of the study runs, without the narrower cell
            before = self._plan(narrow, self._read(narrow))
        return cell.plan(stored, rate_from(before, cell.floor))

    def _note(self, label: str, plan: Plan) -> None:
        cell = self._cells[label]
        self.plans[label] = plan
        if plan.done:
            self._open.pop(label, None)
        else:
            self._open[label] = cell
        asked = [
            Asked(cell, request, cell.key(request.learning_rate, request.seed))
            for request in plan.requests
        ]
        self._set(label, [each for each in asked if each.key not in self.running])

    def _set(self, label: str, asked: list[Asked]) -> None:
        """Set the trials that a cell needs and that are not running."""
        place, was_ready = self._places[label], bool(self._asked.get(label))
        self._asked[label] = asked
        if asked and not was_ready:
            insort(self._ready, place)
        elif was_ready and not asked:
            self._ready.remove(place)
