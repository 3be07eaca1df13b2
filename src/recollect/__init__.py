"""Recollect measures how well sequence-mixing architectures recall what they read.

    import recollect as rc

    task = rc.MQAR(seq_len=64, num_kv_pairs=4)
    result = rc.train(rc.ModelConfig(mixer="attention", d_model=64), task)

Names are imported when they are first used, so that `import recollect` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recollect import events
    from recollect.analysis.quantised import capacity
    from recollect.api.results import Results, results
    from recollect.api.run import load, run
    from recollect.errors import UserError
    from recollect.language.text_task import Text
    from recollect.mixers.adapt import adapt
    from recollect.mixers.catalogue import MixerSpec, mixer, register_mixer
    from recollect.mixers.marks import keep_init, no_decay
    from recollect.models.config import Init, ModelConfig
    from recollect.referee.check import check
    from recollect.studies.grid import models_grid
    from recollect.studies.results import (
        cells_frame,
        history_frame,
        metrics_frame,
        trials_frame,
    )
    from recollect.studies.search import BestRateSearch, FixedGrid, LearningRateSearch
    from recollect.studies.shipped import register_study
    from recollect.studies.store import Store
    from recollect.studies.study import Study
    from recollect.studies.variant import Variant
    from recollect.tasks.associative_recall import AssociativeRecall
    from recollect.tasks.batch import Batch
    from recollect.tasks.copying import Copy
    from recollect.tasks.metric import Metric, register_metric
    from recollect.tasks.mixture import Mixture
    from recollect.tasks.mqar import MQAR
    from recollect.tasks.task import Role, Task, register_task, task
    from recollect.training.config import Seeds, TrainConfig, TrialConfig
    from recollect.training.trial import train

MODULES = {
    "capacity": "analysis.quantised",
    "Results": "api.results",
    "results": "api.results",
    "load": "api.run",
    "run": "api.run",
    "UserError": "errors",
    "Text": "language.text_task",
    "adapt": "mixers.adapt",
    "MixerSpec": "mixers.catalogue",
    "mixer": "mixers.catalogue",
    "register_mixer": "mixers.catalogue",
    "keep_init": "mixers.marks",
    "no_decay": "mixers.marks",
    "Init": "models.config",
    "ModelConfig": "models.config",
    "check": "referee.check",
    "cells_frame": "studies.results",
    "history_frame": "studies.results",
    "metrics_frame": "studies.results",
    "trials_frame": "studies.results",
    "BestRateSearch": "studies.search",
    "FixedGrid": "studies.search",
    "LearningRateSearch": "studies.search",
    "Store": "studies.store",
    "Study": "studies.study",
    "models_grid": "studies.grid",
    "register_study": "studies.shipped",
    "Variant": "studies.variant",
    "AssociativeRecall": "tasks.associative_recall",
    "Batch": "tasks.batch",
    "Copy": "tasks.copying",
    "Mixture": "tasks.mixture",
    "MQAR": "tasks.mqar",
    "Metric": "tasks.metric",
    "register_metric": "tasks.metric",
    "Role": "tasks.task",
    "Task": "tasks.task",
    "register_task": "tasks.task",
    "task": "tasks.task",
    "Seeds": "training.config",
    "TrainConfig": "training.config",
    "TrialConfig": "training.config",
    "train": "training.trial",
}
"""The module of each public name."""

__all__ = [
    "MQAR",
    "AssociativeRecall",
    "Batch",
    "BestRateSearch",
    "Copy",
    "FixedGrid",
    "Init",
    "LearningRateSearch",
    "Metric",
    "MixerSpec",
    "Mixture",
    "ModelConfig",
    "Results",
    "Role",
    "Seeds",
    "Store",
    "Study",
    "Task",
    "Text",
    "TrainConfig",
    "TrialConfig",
    "UserError",
    "Variant",
    "__version__",
    "adapt",
    "capacity",
    "cells_frame",
    "check",
    "events",
    "history_frame",
    "keep_init",
    "load",
    "metrics_frame",
    "mixer",
    "models_grid",
    "no_decay",
    "register_metric",
    "register_mixer",
    "register_study",
    "register_task",
    "results",
    "run",
    "task",
    "train",
    "trials_frame",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("recollect")
    if name == "events":
        return import_module("recollect.events")
    if name not in MODULES:
        raise AttributeError(f"module 'recollect' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"recollect.{MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
