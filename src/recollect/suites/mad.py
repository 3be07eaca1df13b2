"""The suite `mad`: the six tasks of MAD (Poli et al., 2024, arXiv 2403.17844).

The budget `paper` has all 66 settings, each for the published number of steps. `standard` has the
baseline of each task, and `quick` a shorter version of it. Learning rates are chosen on validation
examples; the public code instead reports the best of six runs on the test examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from recollect.suites.suite import BudgetName, Part, register_suite
from recollect.tasks._in_context import InContext
from recollect.tasks.mad import BASELINE_EXAMPLES, BATCH_SIZE, Setting, mad_settings
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


@register_suite("mad", "Mechanistic design: the six tasks of MAD")
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
    for number, setting in enumerate(settings):
        label = setting.task.label if number else name
        of = f" of {setting.train_examples}" if label == settings[0].task.label else ""
        yield _part(f"{label}{of}", setting, "paper")


def _part(heading: str, setting: Setting, budget: BudgetName) -> Part:
    train: dict[str, int] = {"train_examples": setting.train_examples}
    if budget == "paper":
        train |= {"steps": setting.steps, "batch_size": BATCH_SIZE}
    return Part(heading, setting.task, metric=_metric(setting.task), train=train)


def _metric(task: Task) -> str | None:
    """In-context tasks train on all next tokens, but are scored on the recallable ones."""
    return "recalled" if isinstance(task, InContext) else None
