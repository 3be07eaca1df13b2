"""The suite `tracking`: state tracking in groups, at trained and longer lengths.

Which groups a linear recurrence can track depends on its transition matrices: parity needs negative
eigenvalues, and groups that do not commute need non-diagonal matrices (Merrill et al., 2024,
arXiv 2404.08819; Grazzi et al., 2024, arXiv 2411.12537).
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
"""The longest training length and the longer test length."""


@register_suite("tracking", "Which groups a mixer can track, and at which lengths")
def tracking(budget: BudgetName) -> list[Part]:
    """Each group at the trained lengths and at a longer one."""
    trained, longer = LENGTHS[budget]
    parts = []
    for name, group in GROUPS.items():
        short = task("tracking", group=group, min_length=3, max_length=trained)
        long = task("tracking", group=group, min_length=longer, max_length=longer)
        parts.append(Part(name, short, longer=long))
    return parts
