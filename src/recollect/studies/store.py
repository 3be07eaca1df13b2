"""Results on disk: one SQLite file, and beside it a folder for checkpoints, weights and
observations.

A store holds plain values only, so that it can be read without models and without the user's code.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recollect.config import canonical_json, digest
from recollect.errors import UserError, unknown
from recollect.execution.artifacts import CHECKPOINT, OBSERVATIONS, WEIGHTS, FolderArtifacts
from recollect.execution.failure import Failure
from recollect.studies.cell import Cell, is_older
from recollect.studies.listing import left_out, listing
from recollect.studies.outcome_rows import write_failure, write_outcome
from recollect.studies.replay import Trial
from recollect.studies.store_file import StoreFile
from recollect.studies.stored_trial import StoredTrial, failed, with_outcome

if TYPE_CHECKING:
    from recollect.training.result import TrialResult


class Store:
    """A store, made where there is none.

    Args:
        path: the SQLite file.
        must_exist: whether a missing store is an error.

    Attributes:
        path: the SQLite file.
        file: what it is read and written through, by `rows` and `transaction`.
        artifacts: the folder beside it.

    Raises:
        UserError: if the file is no store, or one of another version, or cannot be made or read. A
            file that is no store is left as it is.
    """

    def __init__(self, path: str | Path, *, must_exist: bool = False) -> None:
        self.path = Path(path)
        self.file = StoreFile(self.path, must_exist=must_exist)
        self.rows, self.transaction = self.file.rows, self.file.transaction
        self.artifacts = FolderArtifacts(self.path.with_name(f"{self.path.name}.trials"))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def stands(self) -> dict[str, tuple[int, float]]:
        """By the identity of a cell, what changes whenever its trials do."""
        rows = self.rows(
            "SELECT cell, SUM(n) AS n, SUM(at) AS at FROM"
            " (SELECT cell, COUNT(*) AS n, SUM(updated) AS at FROM trials GROUP BY cell UNION ALL"
            " SELECT cell, COUNT(*), SUM(created) FROM failures GROUP BY cell) GROUP BY cell"
        )
        return {row["cell"]: (row["n"], row["at"]) for row in rows}

    def record_study(
        self, name: str, settings: str, cells: Sequence[Cell], whole: Sequence[Cell] | None = None
    ) -> None:
        """Note what a study consists of (`listing`), so that it can be run in parts.

        What it had before and has no longer is kept among its former cells. Trials are never
        touched.

        Args:
            name: of the study.
            settings: a digest of what its cells have in common.
            cells: those of this run.
            whole: every cell of the study; None: those of this run.
        """
        with self.transaction() as connection:
            listed = self.listed(name)
            now = listing(cells if whole is None else whole, cells, listed)
            connection.execute(
                "INSERT INTO studies VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " settings = excluded.settings, updated = excluded.updated",
                (name, settings, time.time()),
            )
            connection.execute("DELETE FROM cells WHERE study = ?", (name,))
            self.add_cells(name, now)
            self.add_former(name, listed)

    def add_cells(self, study: str, cells: Iterable[Cell]) -> None:
        """List `cells` after those that `study` has; within a transaction."""
        assert self.file.connection.in_transaction
        self.file.connection.executemany(
            "INSERT INTO cells VALUES (?, ?, ?, ?)",
            [(study, cell.label, cell.id, _as_json(cell)) for cell in cells],
        )

    def add_former(self, study: str, cells: Iterable[Cell]) -> None:
        """Keep those of `cells` that `study` does not list; within a transaction."""
        assert self.file.connection.in_transaction
        self.file.connection.executemany(
            "INSERT OR REPLACE INTO former_cells VALUES (?, ?, ?)",
            [
                (study, digest(_as_json(cell)), _as_json(cell))
                for cell in left_out(cells, self.listed(study))
            ],
        )

    def studies(self) -> list[str]:
        """The names of the studies, the latest first."""
        return [row["name"] for row in self.rows("SELECT name FROM studies ORDER BY updated DESC")]

    def cells(self, study: str) -> tuple[Cell, ...]:
        """The cells of the study named `study` in its order, those that were merged into it last.

        Raises:
            UserError: if the store has no such study.
        """
        listed = self.listed(study)
        if not listed:
            known = self.studies()
            if not known:
                raise UserError(f"{self.path} holds no study yet; `recollect run` puts one there")
            raise unknown(f"study in {self.path}", study, known)
        return listed

    def former_cells(self, study: str) -> tuple[Cell, ...]:
        """The cells with results that the study named `study` had and has no longer, the last
        dropped last.

        Raises:
            UserError: if the store has no such study.
        """
        rows = self.rows("SELECT cell FROM former_cells WHERE study = ? ORDER BY rowid", study)
        former = left_out(map(_from_json, rows), self.cells(study))
        return tuple(cell for cell in former if self.trials(cell))

    def listed(self, study: str) -> tuple[Cell, ...]:
        """The cells of `study`, as `cells` gives them; none if the store lacks it."""
        rows = self.rows("SELECT cell FROM cells WHERE study = ? ORDER BY rowid", study)
        return tuple(map(_from_json, rows))

    def has_older_search(self, study: str) -> bool:
        """Whether some cell of the study named `study` has the search of an older version, which
        asked for fewer trials than it does today."""
        rows = self.rows("SELECT cell FROM cells WHERE study = ?", study)
        return any(is_older(json.loads(row["cell"])["search"]) for row in rows)

    def trials(self, cell: Cell, *, observed: bool = False) -> dict[Trial, StoredTrial]:
        """The stored trials of a cell by learning rate and seed.

        Args:
            cell: what they belong to.
            observed: whether observations are needed: a complete trial without them is then one
                that was stopped at its last step, and is asked for again.

        Returns:
            The trials by (learning rate, seed), the failed ones too.
        """
        with self.file.at_one_moment():
            trials, failures = with_outcome(self.rows, cell), failed(self.rows, cell)
        if observed:
            for key, trial in trials.items():
                if trial.status == "complete" and not self.observations_path(key).exists():
                    trials[key] = replace(trial, status="stopped")
        for key, trial in failures.items():
            if key not in trials:
                trials[key] = trial
            elif trials[key].status == "stopped":
                trials[key] = replace(trials[key], status="failed", failure=trial.failure)
        return {(trial.learning_rate, trial.seed): trial for trial in trials.values()}

    def step(self, key: str, *, observed: bool = False) -> float | None:
        """How far a trial has come.

        Args:
            key: of the trial.
            observed: as in `trials`.

        Returns:
            Optimiser steps; infinity, if nothing more is to be had of it; None: it is not stored.
        """
        failed = self.rows("SELECT 1 FROM failures WHERE key = ?", key)
        found = self.rows("SELECT status, step FROM trials WHERE key = ?", key)
        if not found:
            return math.inf if failed else None
        is_seen = not observed or self.observations_path(key).exists()
        if failed or found[0]["status"] == "diverged":
            return math.inf
        if found[0]["status"] == "complete" and is_seen:
            return math.inf
        return float(found[0]["step"])

    def history(self, key: str) -> list[dict[str, Any]]:
        """The records of the trial with this `key`, one for each validation: `step`,
        `learning_rate`, `train_loss` in nats, `seconds`, and `valid_NAME` for each metric."""
        rows = self.rows(
            "SELECT step, split, metric, value FROM measured"
            " WHERE key = ? AND split IN ('train', 'valid') ORDER BY step",
            key,
        )
        records: dict[int, dict[str, Any]] = {}
        for row in rows:
            name = row["metric"]
            if row["split"] == "valid" or name == "loss":
                name = f"{row['split']}_{name}"
            value = math.nan if row["value"] is None else row["value"]
            records.setdefault(row["step"], {"step": row["step"]})[name] = value
        return list(records.values())

    def measures(self, key: str) -> list[dict[str, Any]]:
        """All that was measured of the trial with this `key`: `step`, `split`, `task`, `metric`,
        `value` and `error` of each. A value that is NaN, infinite or unknown is None."""
        query = (
            "SELECT step, split, task, metric, value, error FROM measured WHERE key = ?"
            " ORDER BY step, split, task, metric"
        )
        return [dict(row) for row in self.rows(query, key)]

    def config(self, key: str) -> dict[str, Any]:
        """The canonical config of the trial with this `key`.

        Raises:
            UserError: if the store has no such trial.
        """
        rows = self.rows(
            "SELECT config FROM trials WHERE key = ? UNION ALL"
            " SELECT config FROM failures WHERE key = ?",
            *(key, key),
        )
        if not rows:
            raise UserError(f"there is no trial {key!r} in {self.path}")
        config: dict[str, Any] = json.loads(rows[0]["config"])
        return config

    def save(self, cell: Cell, learning_rate: float, seed: int, result: TrialResult) -> None:
        """Store the `result`, with its history, of the trial of `cell` with `learning_rate` and
        `seed`.

        What another process has brought further meanwhile stays; of two ends the later counts,
        since weights and observations are its own.
        """
        with self.transaction() as connection:
            write_outcome(connection, cell, learning_rate, seed, result)

    def save_failure(
        self, cell: Cell, learning_rate: float, seed: int, failure: Failure, device: str
    ) -> None:
        """Store the `failure` of the trial of `cell` with `learning_rate` and `seed`, which ran on
        `device`. Its earlier records stay."""
        with self.transaction() as connection:
            write_failure(connection, cell, learning_rate, seed, failure, device)

    def forget_failures(self, cells: Iterable[Cell]) -> None:
        """Let those trials of `cells` that failed be tried again."""
        with self.transaction() as connection:
            ids = [(cell.id,) for cell in cells]
            connection.executemany("DELETE FROM failures WHERE cell = ?", ids)

    @property
    def folder(self) -> Path:
        """Where checkpoints, weights and observations lie."""
        return self.artifacts.folder

    def checkpoint_path(self, key: str) -> Path:
        """The file for the checkpoint of the unfinished trial with this `key`."""
        return self.artifacts.slot(key, CHECKPOINT).path

    def weights_path(self, key: str) -> Path:
        """The file for the weights of the trial with this `key`; it exists if they were kept."""
        return self.artifacts.slot(key, WEIGHTS).path

    def observations_path(self, key: str) -> Path:
        """The file for what was observed of the trial with this `key`; it exists if the trial was
        observed and is complete."""
        return self.artifacts.slot(key, OBSERVATIONS).path


def _as_json(cell: Cell) -> str:
    return canonical_json(cell.model_dump(mode="json"))


def _from_json(row: sqlite3.Row) -> Cell:
    return Cell(**json.loads(row["cell"]))
