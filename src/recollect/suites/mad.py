"""The suite `mad`: the six tasks of MAD (Poli et al., 2024, arXiv 2403.17844).

At the budget `paper` all 66 settings, each for the published number of steps; else the baseline of
each task. Rates are chosen on validation examples, where the public code reports the best of six
runs on the test examples.
"""

from __future__ import annotations

from collections.abc import Iterator

from recollect.suites.suite import BudgetName, Part, register_suite
from recollect.tasks.mad import BATCH_SIZE, Setting, mad_settings


@register_suite("mad", "Mechanistic design: the six tasks of MAD")
def mad(budget: BudgetName) -> list[Part]:
    """The baselines, or all settings."""
    settings = mad_settings()
    if budget != "paper":
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
    return Part(heading, setting.task, train=train)
