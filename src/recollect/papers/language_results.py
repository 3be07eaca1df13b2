"""Measured results of language models, kept in a folder beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recollect.errors import UserError
from recollect.files import replacing
from recollect.language.ar_hits import PAPER_HIT_SHARE, Bound, nearest_bound
from recollect.language.compare import compare
from recollect.language.document_sums import DocumentSums
from recollect.language.kept import kept_folder
from recollect.language.model_folder import is_model_folder, save_model
from recollect.language.progress import OnProgress
from recollect.papers.language_plan import LanguagePlan
from recollect.papers.measured import NotMeasured
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.text_output import write_text
from recollect.training.checkpoint import load_weights
from recollect.training.config import TrialConfig

PLAN_FILE, SUMS_FILE = "plan.json", "sums.npz"
"""The plan is written last: if it exists, the tables are complete."""
TABLES = ("gap", "slices", "models", "trials")


@dataclass(frozen=True)
class LanguageResults:
    """The results of a plan, which may not be measured yet.

    Attributes:
        plan: the plan.
        tables: `gap` at all `CURVE_BOUNDS` and `slices`, as from `compare`; `models` with
            `parameters`, `learning_rate`, `at_edge` (the rate is at the edge of those tried) and
            `tokens_read` in training; `trials` of search and full training with `key`, `device` and
            `seconds`. Empty if not measured.
        sums: the sums of each document; None if not measured.
    """

    plan: LanguagePlan
    tables: Mapping[str, pd.DataFrame]
    sums: DocumentSums | None = None

    @property
    def measured(self) -> DocumentSums:
        """The sums of each document, which must be measured.

        Raises:
            NotMeasured: if they are not measured.
        """
        if self.sums is None:
            raise NotMeasured(f"not finished: {self.plan.name}")
        return self.sums

    def bound(self, times: float = 1) -> Bound:
        """The bound on the training count whose share of hits is nearest to `times` the paper's.

        Raises:
            NotMeasured: if they are not measured.
        """
        return nearest_bound(self.measured.hit_shares, times * PAPER_HIT_SHARE)

    def rows(self) -> pd.DataFrame:
        """The gap at `bound()` with facts about training: one row per model, indexed by its name.

        Raises:
            NotMeasured: if they are not measured.
        """
        bound, gap = self.bound(), self.tables["gap"]
        bounds = gap["max_train_count"]
        chosen = gap[bounds.isna() if bound is None else (bounds == bound).fillna(False)]
        return chosen.merge(self.tables["models"], on="model").set_index("model", drop=False)


def chosen_rates(plan: LanguagePlan, store: Store) -> list[float]:
    """The learning rate of each model after the search; without a search, the plan's rate."""
    rates = [plan.train.learning_rate] * len(plan.models)
    for study in plan.studies():
        rates = list(_finished(study, store)["learning_rate"])
    return rates


def _finished(study: Study, store: Store) -> pd.DataFrame:
    """The rows of `cells_frame` for exactly the cells of a study, in their order.

    The store may have further cells under the study's name, on another text or of other models.

    Raises:
        UserError: if a cell is not finished or has failed trials.
    """
    cells = cells_frame(store, study)
    if cells["failed"].any():
        raise UserError(
            f"{cells['failed'].sum()} trials of {study.name} failed, so its models cannot be"
            " compared: run the same command with --retry-failed"
        )
    if not cells["finished"].all():
        raise UserError(
            f"{store.path} lacks trials of {study.name} with these settings: run the same command"
            " again"
        )
    lost = cells[cells["learning_rate"].isna()]
    if not lost.empty:
        raise UserError(
            f"every learning rate of {', '.join(lost['mixer'])} diverged in {study.name}, so none"
            " can be chosen"
        )
    return cells


def is_measured(plan: LanguagePlan, store: Store, rates: Sequence[float]) -> bool:
    """Return True if the kept results are of these models, rates and text; else discard them."""
    kept = read_results(plan, store.path).tables
    if not kept:
        return False
    if {trial.key for _, trial in plan.trials(rates)} <= {*kept["trials"]["key"]}:
        return True
    (plan.folder(store.path) / PLAN_FILE).unlink()
    return False


def measure(
    plan: LanguagePlan,
    store: Store,
    rates: Sequence[float],
    *,
    device: str,
    on_progress: OnProgress,
) -> None:
    """Compare the models on the test part of their text, and write the tables to their folder.

    Args:
        plan: the plan of the models.
        store: the store with the search and the trained models.
        rates: the learning rate of each model, in their order.
        device: where to run the models.
        on_progress: a function that is called with the progress.

    Raises:
        UserError: if the store lacks trials.
    """
    _refuse_diverged(plan.trainings(rates), store)
    trials = plan.trials(rates)
    folders = [_model_folder(plan, store, *each) for each in trials]
    compared = compare(
        list(map(str, folders)),
        text=f"{plan.text}@test",
        train_text=f"{plan.text}@train",
        folder=kept_folder(),
        names=[model for model, _ in trials],
        max_train_counts=None,
        context=plan.context - plan.end_of_text,  # its token stands before each context
        device=device,
        on_progress=on_progress,
    )
    tables = {
        "gap": compared.curve,
        "slices": compared.slices,
        "models": _models(plan, store, rates),
        "trials": _trials(plan, store, rates),
    }
    folder = plan.folder(store.path)
    for name, table in tables.items():
        with replacing(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    compared.sums.write(folder / SUMS_FILE)
    write_text(folder / PLAN_FILE, plan.model_dump_json(indent=1))


def _refuse_diverged(study: Study, store: Store) -> None:
    _finished(study, store)
    trials = trials_frame(store, study)
    for trial in trials[trials["status"] != "complete"].itertuples():
        raise UserError(
            f"{trial.mixer} at learning_rate={trial.learning_rate:g} on seed {trial.seed}"
            f" {trial.status} in {study.name}, so it cannot be compared: choose a smaller rate"
        )


def _model_folder(plan: LanguagePlan, store: Store, model: str, trial: TrialConfig) -> Path:
    """The folder of a trained model with its tokenizer; other contents of the text give another
    folder."""
    folder = plan.folder(store.path) / f"{model}-{trial.key[:8]}"
    if not is_model_folder(folder):
        trained = load_weights(trial, store.weights_path(trial.key))
        data = plan.task.data
        save_model(trained, data.tokenizer, folder, begins_with=data.begins_with)
    return folder


def _models(plan: LanguagePlan, store: Store, rates: Sequence[float]) -> pd.DataFrame:
    at_edge = [False] * len(plan.models)
    for study in plan.studies():
        at_edge = list(_finished(study, store)["at_edge"])
    trained = _finished(plan.trainings(rates), store)
    return pd.DataFrame(
        {
            "model": list(plan.models),
            "parameters": list(trained["parameters"]),
            "learning_rate": list(rates),
            "at_edge": at_edge,
            "tokens_read": plan.train.steps * plan.train.batch_size * plan.context,
        }
    )


def _trials(plan: LanguagePlan, store: Store, rates: Sequence[float]) -> pd.DataFrame:
    studies = (*plan.studies(), plan.trainings(rates))
    found = pd.concat([trials_frame(store, study) for study in studies], ignore_index=True)
    return found[["key", "device", "seconds"]]


def read_results(plan: LanguagePlan, store: Path) -> LanguageResults:
    """Read the results of a plan beside a store."""
    folder = plan.folder(store)
    if not (folder / PLAN_FILE).exists():
        return LanguageResults(plan, {})
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in TABLES}
    for name in ("gap", "slices"):
        tables[name] = tables[name].astype({"max_train_count": "Int64"})
    return LanguageResults(plan, tables, DocumentSums.read(folder / SUMS_FILE))
