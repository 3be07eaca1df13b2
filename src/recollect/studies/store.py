"""Results on disk: an SQLite file and beside it a folder for checkpoints, weights and observations.

A store holds only plain values, so it can be read without models and the user's code.
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
from recollect.studies.store_file import StoreFile, store_path
from recollect.studies.stored_trial import StoredTrial, failed, with_outcome

if TYPE_CHECKING:
    from recollect.training.result import TrialResult


class Store:
    """A store, created if it does not exist.

    Args:
        path: the SQLite file.
        must_exist: whether a missing store is an error.

    Attributes:
        path: the SQLite file.
        file: the opened file; `rows` and `transaction` read and write it.
        artifacts: the folder beside it.

    Raises:
        UserError: if the file is not a store, is of a later version, or cannot be created or read.
            Files that are not stores are never changed.
    """

    def __init__(self, path: str | Path, *, must_exist: bool = False) -> None:
        self.path = store_path(path)
        self.file = StoreFile(self.path, must_exist=must_exist)
        self.rows, self.transaction = self.file.rows, self.file.transaction
        self.artifacts = FolderArtifacts(
            self.path.with_name(f"{self.path.name}.trials"), is_ours=True
        )

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def stands(self) -> dict[str, tuple[int, float]]:
        """Fingerprint of each cell's trials, by cell identity; it changes whenever they do."""
        rows = self.rows(
            "SELECT cell, SUM(n) AS n, SUM(at) AS at FROM"
            " (SELECT cell, COUNT(*) AS n, SUM(updated) AS at FROM trials GROUP BY cell UNION ALL"
            " SELECT cell, COUNT(*), SUM(created) FROM failures GROUP BY cell) GROUP BY cell"
        )
        return {row["cell"]: (row["n"], row["at"]) for row in rows}

    def record_study(
        self, name: str, settings: str, cells: Sequence[Cell], whole: Sequence[Cell] | None = None
    ) -> None:
        """Record the cells of a study (`listing`), so that it can be run in parts.

        Cells that it no longer has become former cells. Trials are not changed.

        Args:
            name: name of the study.
            settings: digest of what its cells share.
            cells: cells of this run.
            whole: all cells of the study; None: those of this run.
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
        """Append `cells` to `study`; call it within a transaction."""
        assert self.file.connection.in_transaction
        self.file.connection.executemany(
            "INSERT INTO cells VALUES (?, ?, ?, ?)",
            [(study, cell.label, cell.id, _as_json(cell)) for cell in cells],
        )

    def add_former(self, study: str, cells: Iterable[Cell]) -> None:
        """Record those of `cells` that `study` does not list as former cells; call it within a
        transaction."""
        assert self.file.connection.in_transaction
        self.file.connection.executemany(
            "INSERT OR REPLACE INTO former_cells VALUES (?, ?, ?)",
            [
                (study, digest(_as_json(cell)), _as_json(cell))
                for cell in left_out(cells, self.listed(study))
            ],
        )

    def studies(self) -> list[str]:
        """Names of the studies, the latest first."""
        return [row["name"] for row in self.rows("SELECT name FROM studies ORDER BY updated DESC")]

    def cells(self, study: str) -> tuple[Cell, ...]:
        """Cells of `study` in its order; merged cells come last.

        Raises:
            UserError: if the store has no such study.
        """
        listed = self.listed(study)
        if not listed:
            known = self.studies()
            if not known:
                raise UserError(f"{self.path} has no studies yet; `recollect run` adds one")
            raise unknown(f"study in {self.path}", study, known)
        return listed

    def former_cells(self, study: str) -> tuple[Cell, ...]:
        """Cells with results that `study` no longer has, in the order in which they were dropped.

        Raises:
            UserError: if the store has no such study.
        """
        rows = self.rows("SELECT cell FROM former_cells WHERE study = ? ORDER BY rowid", study)
        former = left_out(map(_from_json, rows), self.cells(study))
        return tuple(cell for cell in former if self.trials(cell))

    def listed(self, study: str) -> tuple[Cell, ...]:
        """Cells of `study` as in `cells`; empty if the store has no such study."""
        rows = self.rows("SELECT cell FROM cells WHERE study = ? ORDER BY rowid", study)
        return tuple(map(_from_json, rows))

    def has_older_search(self, study: str) -> bool:
        """Whether a cell of `study` has the search of an older version, which requested fewer
        trials."""
        rows = self.rows("SELECT cell FROM cells WHERE study = ?", study)
        return any(is_older(json.loads(row["cell"])["search"]) for row in rows)

    def trials(self, cell: Cell, *, observed: bool = False) -> dict[Trial, StoredTrial]:
        """Stored trials of a cell by learning rate and seed.

        Args:
            cell: the cell.
            observed: whether observations are needed; complete trials without them then count as
                stopped at their last step and are run again.

        Returns:
            Trials by learning rate and seed, including failed ones.
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
        """Step of a stored trial; infinity if it has ended or failed; None if it is not stored.

        Args:
            key: key of the trial.
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
        """Records of trial `key`, one per validation: `step`, `learning_rate`, `train_loss`,
        `seconds`, and `valid_NAME` for each metric."""
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
        """All measures of trial `key`: `step`, `split`, `task`, `metric`, `value`, `error`; NaN and
        unknown values are None."""
        query = (
            "SELECT step, split, task, metric, value, error FROM measured WHERE key = ?"
            " ORDER BY step, split, task, metric"
        )
        return [dict(row) for row in self.rows(query, key)]

    def config(self, key: str) -> dict[str, Any]:
        """Canonical config of trial `key`.

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
        """Store the `result` and history of the trial of `cell` with `learning_rate` and `seed`.

        A further trained result of another process stays. Of two finished results the later one
        counts, because the weights and observations belong to it.
        """
        with self.transaction() as connection:
            write_outcome(connection, cell, learning_rate, seed, result)

    def save_failure(
        self, cell: Cell, learning_rate: float, seed: int, failure: Failure, device: str
    ) -> None:
        """Store a failure; an earlier partial result of the trial stays.

        Args:
            cell: cell of the trial.
            learning_rate: its rate.
            seed: its seed.
            failure: the reason.
            device: the device on which it ran.
        """
        with self.transaction() as connection:
            write_failure(connection, cell, learning_rate, seed, failure, device)

    def forget_failures(self, cells: Iterable[Cell]) -> None:
        """Delete the failures of `cells`, so that these trials run again."""
        with self.transaction() as connection:
            ids = [(cell.id,) for cell in cells]
            connection.executemany("DELETE FROM failures WHERE cell = ?", ids)

    @property
    def folder(self) -> Path:
        """Folder of checkpoints, weights and observations."""
        return self.artifacts.folder

    def checkpoint_path(self, key: str) -> Path:
        """Path of the checkpoint of trial `key`."""
        return self.artifacts.slot(key, CHECKPOINT).path

    def weights_path(self, key: str) -> Path:
        """Path of the trained weights of trial `key`, if they were kept."""
        return self.artifacts.slot(key, WEIGHTS).path

    def observations_path(self, key: str) -> Path:
        """Path of the observations of complete trial `key`, if it was observed."""
        return self.artifacts.slot(key, OBSERVATIONS).path


def _as_json(cell: Cell) -> str:
    return canonical_json(cell.model_dump(mode="json"))


def _from_json(row: sqlite3.Row) -> Cell:
    return Cell(**json.loads(row["cell"]))
