"""The suite `tracking`: the state of a group is followed, at lengths that were trained and longer.

What a linear recurrence can follow depends on its eigenvalues: parity needs negative ones, and
groups that do not commute need more than a diagonal (Merrill et al., 2024, arXiv 2404.08819;
Grazzi et al., 2024, arXiv 2411.12537).
"""

from __future__ import annotations

from recollect.suites.suite import BudgetName, Part, register_suite
from recollect.tasks.task import task

GROUPS = {"parity": "Z2", "S3": "S3", "A5": "A5"}
LENGTHS: dict[BudgetName, tuple[int, int]] = {
    "quick": (16, 64),
    "standard": (32, 128),
    "paper": (128, 512),
}
"""Of training, at most, and of the test beyond."""


@register_suite("tracking", "Which states are followed, and for how long")
def tracking(budget: BudgetName) -> list[Part]:
    """Each group at trained lengths and at one that is longer."""
    trained, longer = LENGTHS[budget]
    parts = []
    for name, group in GROUPS.items():
        short = task("tracking", group=group, min_length=3, max_length=trained)
        long = task("tracking", group=group, min_length=longer, max_length=longer)
        parts.append(Part(name, short, longer=long))
    return parts
