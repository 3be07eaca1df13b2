"""Running a study from Python, and loading what it has trained."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from recollect.errors import UserError
from recollect.studies.results import cells_frame
from recollect.studies.runner import run_study
from recollect.studies.store import Store
from recollect.training.checkpoint import load_weights
from recollect.training.config import TrialConfig

if TYPE_CHECKING:
    import pandas as pd

    from recollect.models.language_model import LanguageModel
    from recollect.studies.study import Study


def run(
    study: Study,
    *,
    store: str | Path = "recollect.db",
    workers: int | None = None,
    device: str = "auto",
    population: int | None = None,
    keep_weights: bool = False,
    fresh: bool = False,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """Run a study, or what of it is not in the store yet.

    A trial that raises is stored as failed, with a warning at the end, and the others go on.

    Args:
        study: what to run.
        store: the file of results; it is made where there is none.
        workers: processes that train on the CPU, one for each core if not given; 0: train in this
            process, as a GPU always does.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.
        population: how many trials of one shape this process trains as one program at most; 64 on a
            GPU, 1 on the CPU, where it is slower than one after the other, if not given.
        keep_weights: whether trained models are kept, to be loaded by `load`.
        fresh: whether to forget first the stored trials that the study looks at; where another
            study of the store looks at one of them, nothing is forgotten or run.
        retry_failed: whether to try again the trials that have failed.

    Returns:
        One row for each cell, see `results.cells_frame`.
    """
    with Store(store) as opened:
        failed = run_study(
            study,
            opened,
            workers=workers,
            device=device,
            population=population,
            keep_weights=keep_weights,
            fresh=fresh,
            retry_failed=retry_failed,
        )
        if failed:
            warnings.warn(
                f"failed trials in {study.name}: {failed}; trials_frame says why, and"
                " run(..., retry_failed=True) tries them again",
                stacklevel=2,
            )
        return cells_frame(opened, study.name)


def load(key: str, *, store: str | Path = "recollect.db") -> LanguageModel:
    """The trained model of a trial, whose key stands in `results.trials_frame`.

    Raises:
        UserError: if there is no such trial, or it failed, or its weights were not kept.
    """
    if Path(key).suffix or Path(key).name != key:
        raise UserError(f"{key!r} is not the key of a trial: expected rc.load(key, store={key!r})")
    with Store(store, must_exist=True) as opened:
        config, path = opened.config(key), opened.weights_path(key)
        failed = opened.rows("SELECT message FROM failures WHERE key = ?", key)
    if failed and not path.exists():
        raise UserError(f"the trial {key} has no weights, as it failed: {failed[0]['message']}")
    if not path.exists():
        raise UserError(
            f"the weights of {key} were not kept: run its study with keep_weights=True, fresh=True"
        )
    return load_weights(TrialConfig(**config), path)
