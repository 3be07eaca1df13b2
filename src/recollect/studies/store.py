"""Results on disk: one SQLite file, and beside it a folder for checkpoints, weights and
observations.

Several processes may work on a store at once. It holds plain values only, so that it can be read
without models and without the user's code.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from recollect.config import canonical_json
from recollect.errors import UserError, unknown
from recollect.studies.cell import Cell
from recollect.studies.replay import Progress, Trial
from recollect.studies.schema import check_is_store, create_store

if TYPE_CHECKING:
    from recollect.training.result import TrialResult

OBSERVATIONS = "observations.safetensors"
"""The name of the file of what was seen of a trial."""
BUSY_SECONDS = 30.0
"""How long one process waits for another's transaction."""


def is_further(new: str, old: str) -> str:
    """In SQL, whether one row of `trials` tells more than another of the same key.

    Args:
        new: the name of the one.
        old: the name of the other.
    """
    return f"({old}.status = 'stopped' AND ({new}.status <> 'stopped' OR {new}.step > {old}.step))"


@dataclass(frozen=True)
class StoredTrial(Progress):
    """A trial as it is stored.

    Attributes:
        key: its identity.
        learning_rate: its rate.
        seed: its seed.
        accuracies: validation accuracy by step.
        test: loss, accuracy and example_accuracy by the label of the test task; empty unless
            complete.
        parameters: number of trained numbers.
        device: where it ran.
        seconds: training time.
    """

    key: str
    learning_rate: float
    seed: int
    accuracies: Mapping[int, float]
    test: dict[str, dict[str, float]]
    parameters: int
    device: str
    seconds: float

    @property
    def valid_accuracy(self) -> float:
        """Of the last validation; 0 if the trial diverged."""
        return 0.0 if self.status == "diverged" else self.accuracies[self.step]

    def test_metric(self, task: str, metric: str) -> float:
        """A metric on a test task: NaN until the trial has ended; if it diverged accuracies are 0,
        and losses infinite."""
        if self.status == "diverged":
            return math.inf if metric == "loss" else 0.0
        return self.test[task][metric] if self.status == "complete" else math.nan


class Store:
    """A store, made where there is none.

    Args:
        path: the SQLite file.
        must_exist: whether a missing store is an error.

    Raises:
        UserError: if the file is no store, or one of another version, or cannot be written. A file
            that is no store is left as it is.
    """

    def __init__(self, path: str | Path, *, must_exist: bool = False) -> None:
        self.path = Path(path)
        if not self.path.exists():
            if must_exist:
                raise UserError(f"there is no store {self.path}; `recollect run` makes one")
            create_store(self.path)
        check_is_store(self.path)
        self._connection = self.connect()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def connect(self) -> sqlite3.Connection:
        """A connection of its own to the file, for another thread."""
        with self._explained():
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            # a transaction survives the death of the process; one that the machine lost with its
            # power is a trial to run again, and not worth a wait for the disk at every result
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's changes or none, with nobody else's in between."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        with self._explained():
            return self._connection.execute(query, values).fetchall()

    def version(self) -> int:
        """A number that changes when another connection has written."""
        return int(self.rows("PRAGMA data_version")[0][0])

    def record_study(self, name: str, settings: str, cells: Sequence[Cell]) -> None:
        """Note what a study consists of.

        Cells are added to those that the study had, so that it can be run in parts; they replace
        those of the same label, and of the same task if that is trained otherwise now. A study
        whose settings have changed starts its list anew. Trials are never touched.

        Args:
            name: of the study.
            settings: a digest of what its cells have in common.
            cells: those of this run.
        """
        with self.transaction() as connection:
            connection.execute(
                "DELETE FROM cells WHERE study = ? AND EXISTS"
                " (SELECT 1 FROM studies WHERE name = ? AND settings <> ?)",
                (name, name, settings),
            )
            connection.execute(
                "INSERT INTO studies VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " settings = excluded.settings, updated = excluded.updated",
                (name, settings, time.time()),
            )
            connection.executemany(
                "INSERT INTO cells VALUES (?, ?, ?, ?) ON CONFLICT (study, label) DO UPDATE SET"
                " id = excluded.id, cell = excluded.cell",
                [(name, c.label, c.id, canonical_json(c.model_dump(mode="json"))) for c in cells],
            )
            connection.executemany(
                "DELETE FROM cells WHERE study = ? AND json_extract(cell, '$.task') = ?"
                " AND json_extract(cell, '$.template.train') <> json(?)",
                {(name, c.task, canonical_json(c.template["train"])) for c in cells},
            )

    def studies(self) -> list[str]:
        """The names of the studies, the latest first."""
        return [row["name"] for row in self.rows("SELECT name FROM studies ORDER BY updated DESC")]

    def cells(self, study: str) -> tuple[Cell, ...]:
        """The cells of a study, in the order in which they came.

        Raises:
            UserError: if the store has no such study.
        """
        rows = self.rows("SELECT cell FROM cells WHERE study = ? ORDER BY rowid", study)
        if not rows:
            known = self.studies()
            if not known:
                raise UserError(f"{self.path} holds no study yet; `recollect run` puts one there")
            raise unknown(f"study in {self.path}", study, known)
        return tuple(Cell(**json.loads(row["cell"])) for row in rows)

    def trials(self, cell: Cell, *, observed: bool = False) -> dict[Trial, StoredTrial]:
        """The stored trials of a cell by learning rate and seed.

        Args:
            cell: what they belong to.
            observed: whether observations are needed: a complete trial without them is then one
                that was stopped at its last step, and is asked for again.
        """
        accuracies: dict[str, dict[int, float]] = {}
        merits: dict[str, dict[int, float]] = {}
        for row in self.rows(
            "SELECT key, step, valid_accuracy, valid_loss FROM history WHERE key IN"
            " (SELECT key FROM trials WHERE cell = ?)",
            cell.id,
        ):
            accuracy = row["valid_accuracy"]
            loss = math.inf if row["valid_loss"] is None else row["valid_loss"]
            accuracies.setdefault(row["key"], {})[row["step"]] = accuracy
            merits.setdefault(row["key"], {})[row["step"]] = cell.merit(accuracy, loss)
        names = "status, step, key, learning_rate, seed, test, parameters, device, seconds"
        trials = [
            StoredTrial(
                **{**row, "test": json.loads(row["test"])},
                accuracies=accuracies.get(row["key"], {}),
                merits=merits.get(row["key"], {}),
            )
            for row in map(dict, self.rows(f"SELECT {names} FROM trials WHERE cell = ?", cell.id))
        ]
        if observed:
            trials = [
                replace(trial, status="stopped")
                if trial.status == "complete" and not self.observations_path(trial.key).exists()
                else trial
                for trial in trials
            ]
        return {(trial.learning_rate, trial.seed): trial for trial in trials}

    def history(self, key: str) -> list[dict[str, Any]]:
        """The records of a trial, one for each validation."""
        rows = map(dict, self.rows("SELECT * FROM history WHERE key = ? ORDER BY step", key))
        return [
            {name: math.nan if value is None else value for name, value in row.items()}
            for row in rows
        ]

    def config(self, key: str) -> dict[str, Any]:
        """The canonical config of a trial.

        Raises:
            UserError: if the store has no such trial.
        """
        rows = self.rows("SELECT config FROM trials WHERE key = ?", key)
        if not rows:
            raise UserError(f"there is no trial {key!r} in {self.path}")
        config: dict[str, Any] = json.loads(rows[0]["config"])
        return config

    def save(self, cell: Cell, learning_rate: float, seed: int, result: TrialResult) -> None:
        """Store an outcome with its history.

        What another process has brought further meanwhile stays; of two ends the later counts,
        since weights and observations are its own.
        """
        key, now = cell.key(learning_rate, seed), time.time()
        test = {label: asdict(metrics) for label, metrics in result.test.items()}
        values = {
            "key": key,
            "cell": cell.id,
            "learning_rate": learning_rate,
            "seed": seed,
            "status": result.status,
            "step": result.step,
            "test": json.dumps(test),
            "parameters": result.parameters,
            "device": result.device,
            "seconds": result.seconds,
            "config": canonical_json(cell.trial(learning_rate, seed)),
            "created": now,
            "updated": now,
        }
        records = [
            (
                key,
                record.step,
                record.learning_rate,
                record.train_loss,
                record.valid.loss,
                record.valid.accuracy,
                record.valid.example_accuracy,
                record.seconds,
            )
            for record in result.history
        ]
        changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "created")
        both_ended = "(trials.status <> 'stopped' AND excluded.status <> 'stopped')"
        with self.transaction() as connection:
            written = connection.execute(
                f"INSERT INTO trials VALUES ({', '.join(f':{name}' for name in values)})"
                f" ON CONFLICT (key) DO UPDATE SET {changes}"
                f" WHERE {is_further('excluded', 'trials')} OR {both_ended}",
                values,
            ).rowcount
            if not written:
                return
            connection.execute("DELETE FROM history WHERE key = ?", (key,))
            connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)", records)

    @property
    def folder(self) -> Path:
        """Where checkpoints, weights and observations lie."""
        return self.path.with_name(f"{self.path.name}.trials")

    def checkpoint_path(self, key: str) -> Path:
        """Where an unfinished trial lies."""
        return self.folder / key / "checkpoint.safetensors"

    def weights_path(self, key: str) -> Path:
        """Where a trained model lies, if weights were kept."""
        return self.folder / key / "weights.safetensors"

    def observations_path(self, key: str) -> Path:
        """Where lies what was seen of a complete trial, if it was observed."""
        return self.folder / key / OBSERVATIONS

    def sweep(self, key: str) -> None:
        """Remove what an ended trial has left but its weights and observations."""
        kept = (self.weights_path(key), self.observations_path(key))
        for path in (self.folder / key).glob("*"):
            if path not in kept:
                path.unlink(missing_ok=True)  # another process may sweep too
        with suppress(OSError):  # not empty, or not there
            (self.folder / key).rmdir()
            self.folder.rmdir()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.DatabaseError as error:
            raise UserError(f"the store {self.path} cannot be used: {error}") from error
