"""The suite `mad`: the six tasks of MAD (Poli et al., 2024, arXiv 2403.17844).

The budget `paper` has all 66 settings, with the backbone, learning rates and schedule of the public
code (athms/mad-lab), each for the published number of steps. `standard` has the baseline of each
task, and `quick` a shorter version of it, both in the backbone and with the budget of all suites.

At the budget `paper` these points differ from the public code:

- Accuracy counts all answers alike. In the code it is the mean of the accuracies of the token ids.
- Weight decay is 0.1. The code also tries 0.
- Validation examples choose the learning rate. The code reports the best of six runs on the test
  examples.
- The SwiGLU has biases and a hidden width of 342; in the code it has none, and 352. The head has no
  bias. Linear maps start as in our recipe, not as in PyTorch.
- The cosine ends at 0 instead of 1e-6, and training is in float32 instead of bfloat16.
- Mixers have their options of this catalogue. In the code, all states have one size.

`docs/tasks.md` says how tasks differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recollect.studies.search import FixedGrid
from recollect.suites.suite import BudgetName, Part, Protocol, register_suite
from recollect.tasks._in_context import InContext
from recollect.tasks.mad import (
    BASELINE_EXAMPLES,
    BATCH_SIZE,
    LEARNING_RATES,
    TEST_EXAMPLES,
    Setting,
    mad_settings,
)
from recollect.tasks.selective_copying import SelectiveCopying
from recollect.tasks.task import Task

SHORTER: Mapping[str, Mapping[str, int]] = {
    "in-context-recall": {"seq_len": 48},
    "noisy-in-context-recall": {"seq_len": 48},
    "fuzzy-in-context-recall": {"seq_len": 48},
    "selective-copying": {"seq_len": 64, "num_tokens": 8},
    "compression": {"seq_len": 16},
    "memorization": {"vocab_size": 64},
}
"""Settings that differ from the baseline at the quick budget."""
FIXED = {"train_examples": BASELINE_EXAMPLES}
PUBLISHED = Protocol(
    model={"d_model": 128, "mlp": "swiglu", "norm": "rmsnorm", "tie_embedding": False},
    search=FixedGrid(rates=LEARNING_RATES),
)
"""The backbone and the learning rates of the public code."""
TRAINING = {
    "batch_size": BATCH_SIZE,
    "schedule_unit": "epoch",
    "warmup": 0.0,
    "weight_decay": 0.1,
    "decay_all": True,
    "test_examples": TEST_EXAMPLES,
}
"""The training settings of the public code."""


@register_suite("mad", "Mechanistic design: the six tasks of MAD", protocols={"paper": PUBLISHED})
def mad(budget: BudgetName) -> list[Part]:
    """The baseline of each task; at the budget `paper`, all settings."""
    settings = mad_settings()
    if budget == "quick":
        shorter = {name: its[0].task.replace(**SHORTER[name]) for name, its in settings.items()}
        return [Part(n, task, metric=_metric(task), train=FIXED) for n, task in shorter.items()]
    if budget == "standard":
        return [_part(name, its[0], budget) for name, its in settings.items()]
    return [part for name, its in settings.items() for part in _variations(name, its)]


def _variations(name: str, settings: tuple[Setting, ...]) -> Iterator[Part]:
    published = [Setting(_published(each.task), each.train_examples) for each in settings]
    for number, setting in enumerate(published):
        label = setting.task.label if number else name
        of = f" of {setting.train_examples}" if label == published[0].task.label else ""
        yield _part(f"{label}{of}", setting, "paper")


def _published(task: Task) -> Task:
    """The task as the public code makes it, where that is an option."""
    if isinstance(task, SelectiveCopying):
        return task.replace(gaps="before")
    return task


def _part(heading: str, setting: Setting, budget: BudgetName) -> Part:
    train: dict[str, Any] = {"train_examples": setting.train_examples}
    if budget == "paper":
        train |= {"steps": setting.steps, **TRAINING}
    return Part(heading, setting.task, metric=_metric(setting.task), train=train)


def _metric(task: Task) -> str | None:
    """In-context tasks train on all next tokens, but are scored on the recallable ones."""
    return "recalled" if isinstance(task, InContext) else None
