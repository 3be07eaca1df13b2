"""A training in its folder: ownership of the folder, and progress."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from recollect.config import digest
from recollect.errors import UserError
from recollect.execution.artifacts import CHECKPOINT
from recollect.files import make_folder
from recollect.language.model_folder import check_weights
from recollect.language.training_folder import STORE_FILE, STUDY, diverged_text, refuse_foreign
from recollect.language.validation import Validated
from recollect.plain import leaves
from recollect.studies.cell import Cell
from recollect.studies.leases import Leases
from recollect.studies.replay import Request, Trial
from recollect.studies.schema import EXPIRY_SECONDS
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.training.config import TrialConfig
from recollect.training.result import TrialResult
from recollect.training.slot import Slot

INTERNAL = re.compile(
    r"(|task\.|model\.mixer\.\d+\.)(numerics|source|class)|model\.mixer\.\d+\.foreign|task\.end"
    r"|seeds\.(data|order)"
)
"""Names of values that users do not set; they follow from code or other settings."""
MIXER, LAYER = re.compile(r"model\.mixer\.\d+\.mixer"), re.compile(r"\.\d+(\.mixer)?")
"""Patterns of the name of a layer's mixer, and of the layer's number in names."""
CONTENTS = {
    "task.text_digest": "another content of the text",
    "task.tokenizer_digest": "other tokens",
}
"""Texts for digests that differ."""


class Training:
    """A training as the only trial of a study in an open store.

    Args:
        config: the trial.
        folder: the folder.
        store: store of the folder.

    Attributes:
        key: key of the trial.
        checkpoint: slot of its checkpoint.
    """

    def __init__(self, config: TrialConfig, folder: Path, store: Store) -> None:
        rate, seed = config.train.learning_rate, config.seeds.init
        study = Study(
            STUDY,
            tasks=[config.task],
            models=[config.model],
            train=config.train,
            search=FixedGrid(rates=(rate,)),
            seeds=[seed],
        )
        self._config, self._folder, self._store = config, folder, store
        self._leases = Leases(store)
        (self._cell,) = study.cells()
        self._trial = rate, seed
        self.key = self._cell.key(rate, seed)
        assert self.key == config.key
        self.checkpoint: Slot = store.artifacts.slot(self.key, CHECKPOINT)

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Context in which no other process can train in the folder.

        Raises:
            UserError: as in `check`.
        """
        with self._leases:
            if not self._leases.claim(self._cell, Request(*self._trial, until=None)):
                raise self._in_use()
            self.check()
            yield

    def check(self) -> None:
        """Check that this process may train in the folder.

        Raises:
            UserError: if it holds another training or foreign files, or another process trains in
                it.
        """
        theirs = self._store.listed(STUDY)
        if not theirs:
            refuse_foreign(self._folder)
        elif self.key not in [cell.key(*_trial(cell)) for cell in theirs]:
            held = theirs[0].trial(*_trial(theirs[0]))
            changed = ", ".join(dict.fromkeys(_changes(held, self._config.model_dump(mode="json"))))
            raise UserError(
                f"{self._folder} holds a training with"
                f" {changed or 'another version of the trainer or a mixer'}: give the same"
                " settings to resume it, or use another folder"
            )
        if self._leases.elsewhere():
            raise self._in_use()

    def begin(self) -> None:
        """Record the training in the store; from then on it owns the folder."""
        if not self._store.listed(STUDY):
            settings = digest(self._cell.template["train"])
            self._store.record_study(STUDY, settings, [self._cell])

    def save(self, result: TrialResult) -> None:
        """Store a result, partial or final.

        Raises:
            UserError: if another process has taken over the training.
        """
        if not self._leases.holds(self.key):
            raise UserError(
                f"another process has taken over the training in {self._folder}, because this one"
                f" was suspended for more than {EXPIRY_SECONDS:g} s: this one stops"
            )
        self.begin()
        self._store.save(self._cell, *self._trial, result)

    def log(self) -> list[Validated] | None:
        """Validations of a finished training, whose checkpoint is removed; None if it has not
        ended.

        Raises:
            UserError: if it has diverged or its model is missing.
        """
        trial = self._store.trials(self._cell).get(self._trial)
        if trial is None or trial.status not in ("complete", "diverged"):
            return None
        self._store.artifacts.sweep(self.key)
        if trial.status == "diverged":
            rate = trial.learning_rate
            raise UserError(f"learning_rate={rate:g}: {diverged_text(trial)}, and another folder")
        check_weights(self._folder)
        rows = self._store.history(self.key)
        log = [
            Validated.of(row, before, self._config, trial.device)
            for row, before in zip(rows, [None, *rows], strict=False)
        ]
        log[-1] = replace(log[-1], test_loss=trial.test_metric(self._cell.task, "loss"))
        return log

    def _in_use(self) -> UserError:
        return UserError(
            f"another process is training in {self._folder}; if it has died on another machine, try"
            f" again after {EXPIRY_SECONDS:g} s"
        )


@contextmanager
def opened(config: TrialConfig, folder: Path) -> Iterator[Training]:
    """Open the training in a folder, which is created if it is missing."""
    make_folder(folder)
    with Store(folder / STORE_FILE) as store:
        yield Training(config, folder, store)


def finished(config: TrialConfig, folder: Path) -> list[Validated] | None:
    """Validations of a finished training in a folder; None if it has not ended. Creates no files.

    Raises:
        UserError: as in `Training.log` and `Training.check`.
    """
    if not (folder / STORE_FILE).exists():
        refuse_foreign(folder)
        return None
    with opened(config, folder) as training:
        training.check()
        return training.log()


def _trial(cell: Cell) -> Trial:
    """The only trial of a training's cell."""
    assert isinstance(cell.search, FixedGrid)
    return cell.search.rates[0], cell.seeds[0]


def _changes(theirs: dict[str, Any], mine: dict[str, Any]) -> Iterator[str]:
    """Texts of the settings that differ, with both values; without internal values and the options
    of a different mixer."""
    held, asked = dict(leaves(theirs)), dict(leaves(mine))
    names = [name for name in held | asked if held.get(name) != asked.get(name)]
    others = tuple(f"{name[:-5]}options." for name in names if MIXER.fullmatch(name))
    for name in names:
        if not (INTERNAL.fullmatch(name) or name.startswith(others)):
            values = f"{LAYER.sub('', name, 1)}={held.get(name)} in place of {asked.get(name)}"
            yield CONTENTS.get(name, values)
