"""What language models made of a text, kept beside them: what a page is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recollect.errors import UserError
from recollect.files import replacing
from recollect.language.ar_hits import PAPER_HIT_SHARE, Bound, nearest_bound
from recollect.language.compare import OnProgress, compare
from recollect.language.document_sums import DocumentSums
from recollect.language.kept import kept_folder
from recollect.language.model_folder import load_model
from recollect.language.train_log import Validated
from recollect.papers.language_plan import LanguagePlan
from recollect.papers.language_training import Training
from recollect.papers.measured import NotMeasured
from recollect.studies.results import cells_frame, trials_frame
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.tensors import trained_numbers

PLAN_FILE, SUMS_FILE = "plan.json", "sums.npz"
"""The plan is written last: with it the tables are whole."""
TABLES = ("gap", "slices", "models", "trials")


@dataclass(frozen=True)
class LanguageResults:
    """The models of a plan, measured or not.

    Attributes:
        plan: what was asked.
        tables: `gap`, with all of `CURVE_BOUNDS`, and `slices`, as `compare` gives them; `models`,
            with `parameters`, `learning_rate`, whether that is `at_edge` of the tried ones, and how
            many `tokens_read` in training; `trials`, of the search and at length, each with its
            `key`, `device` and `seconds`. Empty while they are not measured.
        sums: of each document; None while they are not measured.
    """

    plan: LanguagePlan
    tables: Mapping[str, pd.DataFrame]
    sums: DocumentSums | None = None

    @property
    def measured(self) -> DocumentSums:
        """The sums of each document.

        Raises:
            NotMeasured: if they are not measured.
        """
        if self.sums is None:
            raise NotMeasured(f"not finished: {self.plan.name}")
        return self.sums

    def bound(self, times: float = 1) -> Bound:
        """The bound on the training count at which the share of hits is nearest to so many times
        the paper's.

        Raises:
            NotMeasured: if they are not measured.
        """
        return nearest_bound(self.measured.hit_shares, times * PAPER_HIT_SHARE)

    def rows(self) -> pd.DataFrame:
        """Of the gap at `bound()`, a row for each model by its name, with what is known of its
        training.

        Raises:
            NotMeasured: if they are not measured.
        """
        bound, gap = self.bound(), self.tables["gap"]
        bounds = gap["max_train_count"]
        chosen = gap[bounds.isna() if bound is None else (bounds == bound).fillna(False)]
        return chosen.merge(self.tables["models"], on="model").set_index("model", drop=False)


def chosen_rates(plan: LanguagePlan, store: Store) -> list[float]:
    """The rate of each model, once the search is done; that of the plan where none is searched."""
    rates = [plan.train.learning_rate] * len(plan.models)
    for study in plan.studies():
        rates = list(_searched(study, store)["learning_rate"])
    return rates


def _searched(study: Study, store: Store) -> pd.DataFrame:
    """A row of `cells_frame` for each of a study's own cells, in their order: the store may list
    others under its name, on another text or of other models.

    Raises:
        UserError: where the search of one of them is not finished, or trials of it have failed.
    """
    cells = cells_frame(store, study)
    if cells["failed"].any():
        raise UserError(
            f"{cells['failed'].sum()} trials of {study.name} failed, so that learning rates cannot"
            " be compared: the same command with --retry-failed tries them again"
        )
    if not cells["finished"].all():
        raise UserError(
            f"{store.path} has not all trials of {study.name} with these settings: give the same"
            " command again"
        )
    lost = cells[cells["learning_rate"].isna()]
    if not lost.empty:
        raise UserError(
            f"every learning rate of {', '.join(lost['mixer'])} diverged in {study.name}, so that"
            " none can be chosen"
        )
    return cells


def withdraw_others(plan: LanguagePlan, store: Store, trainings: Sequence[Training]) -> None:
    """Let the tables of other trainings, on what the text was before, count no more."""
    kept = read_results(plan, store.path).tables
    if kept and not {training.config.key for training in trainings} <= {*kept["trials"]["key"]}:
        (plan.folder(store.path) / PLAN_FILE).unlink()


def measure(
    plan: LanguagePlan,
    store: Store,
    trainings: Sequence[Training],
    trained: Sequence[Validated],
    *,
    device: str,
    on_progress: OnProgress,
) -> None:
    """Compare the models on the test part of their text, and keep the tables in their folder.

    Args:
        plan: what was trained.
        store: has the search of the rates.
        trainings: of the models.
        trained: the last validation of each.
        device: where the models are run.
        on_progress: called now and then.
    """
    compared = compare(
        [str(training.folder) for training in trainings],
        text=f"{plan.text}@test",
        train_text=f"{plan.text}@train",
        folder=kept_folder(),
        names=[training.model for training in trainings],
        max_train_counts=None,
        context=plan.context - plan.end_of_text,  # which stands in front of each window
        device=device,
        on_progress=on_progress,
    )
    tables = {
        "gap": compared.curve,
        "slices": compared.slices,
        "models": _models(plan, store, trainings, trained),
        "trials": _trials(plan, store, trainings, trained),
    }
    folder = plan.folder(store.path)
    for name, table in tables.items():
        with replacing(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    compared.sums.write(folder / SUMS_FILE)
    with replacing(folder / PLAN_FILE) as temporary:
        temporary.write_text(plan.model_dump_json(indent=1), encoding="utf-8")


def _models(
    plan: LanguagePlan,
    store: Store,
    trainings: Sequence[Training],
    trained: Sequence[Validated],
) -> pd.DataFrame:
    at_edge = [False] * len(plan.models)
    for study in plan.studies():
        at_edge = list(_searched(study, store)["at_edge"])
    ended = {
        training.model: (training, last) for training, last in zip(trainings, trained, strict=True)
    }  # of the seeds of a model the last: all have as many parameters, one rate and one budget
    return pd.DataFrame(
        {
            "model": model,
            "parameters": trained_numbers(load_model(training.folder)),
            "learning_rate": training.config.train.learning_rate,
            "at_edge": edge,
            "tokens_read": last.tokens,
        }
        for (model, (training, last)), edge in zip(ended.items(), at_edge, strict=True)
    )


def _trials(
    plan: LanguagePlan,
    store: Store,
    trainings: Sequence[Training],
    trained: Sequence[Validated],
) -> pd.DataFrame:
    long = pd.DataFrame(
        {"key": training.config.key, "device": last.device, "seconds": last.seconds}
        for training, last in zip(trainings, trained, strict=True)
    )
    short = [trials_frame(store, study) for study in plan.studies()]
    return pd.concat([*(each[[*long.columns]] for each in short), long], ignore_index=True)


def read_results(plan: LanguagePlan, store: Path) -> LanguageResults:
    """What is kept beside a store."""
    folder = plan.folder(store)
    if not (folder / PLAN_FILE).exists():
        return LanguageResults(plan, {})
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in TABLES}
    for name in ("gap", "slices"):
        tables[name] = tables[name].astype({"max_train_count": "Int64"})
    return LanguageResults(plan, tables, DocumentSums.read(folder / SUMS_FILE))
