"""Test tasks longer than training, in which parameters act that no gradient ever reached."""

from __future__ import annotations

from collections.abc import Iterable

from recollect.training.config import TrialConfig

POSITIONS = "learned positions"
WEIGHTS = "weights for long inputs"
"""What may be untrained."""


def untrained_positions(config: TrialConfig) -> tuple[str, ...]:
    """Labels of the test tasks that are longer than training, if positions are learned."""
    return tuple(_longer(config)) if config.model.learned_positions else ()


def untrained_weights(config: TrialConfig) -> tuple[str, ...]:
    """Labels of the test tasks with weights of mixers for which no training example is long
    enough."""
    return tuple(
        label
        for label, length in _longer(config).items()
        if config.model.has_untrained_weights(config.task.max_len, length)
    )


def never_trained(tests: Iterable[str], what: str, models: Iterable[str]) -> str:
    """A sentence on parameters that were never trained.

    Args:
        tests: labels of the test tasks, which may repeat.
        what: `POSITIONS` or `WEIGHTS`.
        models: names of the models, which may repeat.
    """
    longer, tested = (", ".join(dict.fromkeys(names)) for names in (tests, models))
    return f"{longer}: longer than training, so some {what} of {tested} were never trained"


def about_untrained(config: TrialConfig) -> list[str]:
    """The sentences of `never_trained` on a trial."""
    found = {POSITIONS: untrained_positions(config), WEIGHTS: untrained_weights(config)}
    return [
        never_trained(tests, what, [config.model.label]) for what, tests in found.items() if tests
    ]


def _longer(config: TrialConfig) -> dict[str, int]:
    """Lengths of the test tasks that are longer than the training task, by label."""
    return {t.label: t.max_len for t in config.test_tasks if t.max_len > config.task.max_len}
