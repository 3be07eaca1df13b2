"""A trial's result without its times."""

from typing import Any

from recollect.training.result import TrialResult


def numbers(result: TrialResult) -> tuple[Any, ...]:
    """What must not depend on how often a trial was interrupted: everything but the clock."""
    history = [(r.step, r.learning_rate, r.train_loss, r.valid) for r in result.history]
    return result.key, result.status, result.step, history, result.test
