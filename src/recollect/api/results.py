"""The results of a study in Python: a table, data frames, figures and trained models."""

from __future__ import annotations

import html
import io
import warnings
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from rich.console import Console

from recollect.errors import UserError, unknown
from recollect.reports import tables
from recollect.reports.markup import in_html
from recollect.reports.notes import Remedies, notes
from recollect.reports.recipe import common_settings
from recollect.reports.text_table import fitted
from recollect.studies.named import name_of
from recollect.studies.observations import StudyObservations, study_observations
from recollect.studies.results import (
    Listed,
    cells_frame,
    history_frame,
    metrics_frame,
    trials_frame,
)
from recollect.studies.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from recollect.models.language_model import LanguageModel
    from recollect.reports.canvas import Figure
    from recollect.studies.cell import Cell
    from recollect.studies.study import Study

PYTHON = Remedies(
    trials="`.trials`",
    failed="the column `failure` of `.trials` says why, `rc.run(..., retry_failed=True)` tries"
    " again",
    former="`recollect show --former` lists them and how they differ",
)
WIDE = 200
"""Characters in a line where there is no terminal to ask."""


def results(study: str | Study, *, store: str | Path = "recollect.db") -> Results:
    """Read the results of a study from a store; trains nothing.

        rc.results("mine", store="mine.db").plot("learning-rate")

    Args:
        study: the study's name, for its cells as last run; or the study itself, for its present
            cells.
        store: the file of results.

    Returns:
        What is stored now; it does not change when the store does.

    Raises:
        UserError: if the store does not exist, or has no such study.
    """
    with Store(store, must_exist=True) as opened:
        return Results(opened, study)


class Results:
    """The results of a study, as they were when `rc.run` or `rc.results` returned them.

    They do not change when the store is written later. When displayed, they are a short table with
    one row per cell. A star marks a learning rate that ties with the lowest or highest that was
    tried. A window is given in decades of the learning rate. Accuracy is the mean over the seeds on
    test data, with the lowest and highest in brackets. Sentences below the table name the cells
    that did not learn, with their budget and rates.

        results = rc.run(study, store="mine.db")
        results                                       # the table
        results.cells[["mixer", "d_model", "test_accuracy"]]
        results.trials.query("status == 'failed'")["failure"]
        results.plot("learning-rate").savefig("rates.pdf")
        print(results.to_latex())

    Attributes:
        study: the name of the study.
        store: the file of results.
        listed: the cells of the study, in its order.
        cells: one row per cell, see `rc.cells_frame`.
        trials: one row per trial, see `rc.trials_frame`: learning rate, seed, status,
            `test_accuracy` from 0 to 1, losses in nats, `seconds` of training, and the `key` for
            `rc.load`.
        history: one row per validation of each trial, see `rc.history_frame`: `step` in optimiser
            steps, losses in nats, accuracies from 0 to 1.
        metrics: one row per metric at each validation and test, see `rc.metrics_frame`.

    Args:
        store: the open store; it may be closed afterwards.
        study: a study, or the name of a study in the store.

    Raises:
        UserError: if the store has no such study.
    """

    study: str
    store: Path
    listed: tuple[Cell, ...]
    cells: pd.DataFrame
    trials: pd.DataFrame
    history: pd.DataFrame
    metrics: pd.DataFrame

    def __init__(self, store: Store, study: str | Study) -> None:
        name = name_of(study)
        in_store = store.cells(name)
        self.study, self.store = name, store.path.absolute()
        self.listed = in_store if isinstance(study, str) else study.cells()
        self._named = Listed(name, self.listed)
        self.cells = cells_frame(store, self._named)
        self.trials = trials_frame(store, self._named)
        self.history = history_frame(store, self._named)
        self.metrics = metrics_frame(store, self._named)
        self._notes = notes(store, name, self.listed, self.cells, PYTHON)

    def plot(
        self,
        kind: str = "accuracy",
        *,
        bench: str | Path | None = None,
        metric: str = "accuracy",
    ) -> Figure:
        """Draw a figure, as `recollect plot` does; a notebook shows it.

            results.plot("training").savefig("training.png")

        Args:
            kind: "accuracy", "learning-rate" or "training"; for a study with `observe=True` also
                "dynamics", "attention-map" and "gaps"; "tradeoff", with `bench`; "capacity", which
                shows how many bits the models' recurrent states hold, and "state", accuracy over
                their size. These two measure the states.
            bench: for "tradeoff", the file written by `recollect bench mixers --out FILE`.
            metric: for "accuracy", the metric to show: accuracy or one of `TrainConfig.metrics`.

        Returns:
            A matplotlib `Figure`, 3.4 or 7 inches wide (one or two columns of a paper). It does not
            belong to `pyplot` and leaves its state and settings unchanged.

        Raises:
            UserError: for an unknown kind, if there is no result yet, or if the observations or
                measurements that the kind needs are missing.

        Warns:
            UserWarning: if the figure leaves out cells because their trials failed or diverged.
        """
        from recollect.reports.study_figures import study_figure

        figure, unseen = study_figure(kind, self, None if bench is None else Path(bench), metric)
        for line in unseen:
            warnings.warn(line, stacklevel=2)
        return figure

    def report(self, path: str | Path) -> None:
        """Write the report page of the study: one HTML file that needs no network.

            results.report("report.html")

        Args:
            path: the file to write.

        Raises:
            UserError: if the extra `report` is not installed, or the file cannot be written.
        """
        from recollect.reports.page.document import write_page
        from recollect.reports.page.study_data import study_data

        write_page([study_data(self, self._notes, self.store)], Path(path))

    def observations(self) -> StudyObservations:
        """Observations made during training, as tables.

        Raises:
            UserError: if no trial was observed (`Study(observe=True)`), or its files are missing.
        """
        with Store(self.store, must_exist=True) as opened:
            return study_observations(opened, self._named)

    def model(self, key: str | None = None) -> LanguageModel:
        """Load a trained model of a run with `keep_weights=True`.

            model = results.model()
            logits = model(batch.inputs, batch.positions)    # (examples, questions, vocab)

        Args:
            key: the key of a trial, as in `trials`; None: the trial at a chosen rate with the best
                validation result, by the metric that chooses the rates.

        Returns:
            As `rc.load`.

        Raises:
            UserError: if this study has no trial of that key, or the weights were not kept. Without
                a key: if there is no result yet, or the study has several tasks, whose results
                cannot be compared.
        """
        from recollect.api.run import load

        if key is None:
            key = self._best()
        elif key not in set(self.trials["key"]):
            raise unknown(f"trial of {self.study}", key, self.trials["key"])
        return load(key, store=self.store)

    def to_markdown(self, *, columns: Sequence[str] | None = None) -> str:
        """The table of cells in GitHub's Markdown: `print(results.to_markdown())`.

        Args:
            columns: as in `to_latex`.

        Returns:
            The table.

        Raises:
            UserError: for a column that the table does not have.
        """
        return tables.markdown(self.cells, columns=columns)

    def to_latex(self, *, columns: Sequence[str] | None = None) -> str:
        r"""The table of cells as a LaTeX `table` with caption and label, which needs
        `\usepackage{booktabs}`: `Path("table.tex").write_text(results.to_latex())`.

        Args:
            columns: some of its headings, such as `["mixer", "d_model", "test accuracy"]`; None:
                all.

        Returns:
            The table, its caption and its label.

        Raises:
            UserError: for a column that the table does not have.
        """
        return tables.latex(self.cells, study=self.study, columns=columns)

    def __repr__(self) -> str:
        width = get_terminal_size(fallback=(WIDE, 0)).columns
        text = io.StringIO()
        out = Console(file=text, width=width, force_jupyter=False, color_system=None)
        out.print(fitted(*tables.short(self.cells), width), crop=False)
        table = "\n".join(line.rstrip() for line in text.getvalue().splitlines())
        return "\n".join([table, "", *self._lines()])

    def _repr_html_(self) -> str:
        *lines, last = self._lines()
        above = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
        heading, _, recipe = map(html.escape, last.partition(": "))
        recipe = f"<details><summary>{heading}</summary>{recipe}</details>"
        return in_html(*tables.short(self.cells)) + above + recipe

    def _lines(self) -> list[str]:
        """The lines below the table; the last one gives the settings that all trials share."""
        settings = common_settings(self.listed).items()
        recipe = ", ".join(f"{name}={value}" for name, value in settings)
        return [self._place(), *self._notes, f"same for all: {recipe}"]

    def _place(self) -> str:
        """The study, and the common values of its cells that the short table leaves out."""
        columns = {
            "task": [cell.task for cell in self.listed],
            "layers": [str(cell.n_layers) for cell in self.listed],
        }
        common = [f"{name} {each[0]}" for name, each in columns.items() if len({*each}) == 1]
        return ", ".join([f"study {self.study}", *common])

    def _best(self) -> str:
        """The key of the reported trial with the best validation result."""
        tasks = dict.fromkeys(cell.task for cell in self.listed)
        if len(tasks) > 1:
            raise UserError(
                f"{self.study} has several tasks ({', '.join(tasks)}), and trials of different"
                " tasks cannot be compared: give the key of a trial, as in `.trials`"
            )
        reported = self.trials["chosen"].astype(bool) & ~self.trials["searching"].astype(bool)
        done = self.trials[reported]
        done = done[done["status"] == "complete"]
        if done.empty:
            raise UserError(f"no trial of {self.study} at a chosen rate has finished yet")
        judge = self.listed[0]
        ends = self.history.groupby("key")[f"valid_{judge.judged_by}"].last()
        judged = done.assign(judged=done["key"].map(ends))
        ascending = [judge.guess_loss is not None, True]
        return str(judged.sort_values(["judged", "valid_loss"], ascending=ascending)["key"].iloc[0])
