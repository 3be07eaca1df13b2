"""The sizes of a shipped study: "laptop" keeps the question, "paper" the published setting;
"workstation" lies between where a GPU allows more of the question. "quick" is what of the laptop's
can be had in an hour on two cores."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recollect.errors import UserError, unknown

SCALES = ("laptop", "paper")
QUICK = "quick"
TEXT_SCALE = "paper-text"
"""The published setting as the paper's text has it, where the paper's code differs."""
LANGUAGE_SCALES = ("laptop", "workstation", "paper")
"""Of language models on a text."""


def check_scale(scale: str, scales: Sequence[str] = SCALES) -> None:
    """See whether there is such a scale.

    Raises:
        UserError: if there is none.
    """
    if scale not in scales:
        raise unknown("scale", scale, scales)


def is_paper(name: str, scale: str, *, published: bool = True) -> bool:
    """Whether the study `name` is wanted as it was published.

    Args:
        name: of the study.
        scale: what the user typed.
        published: whether there is a publication to follow.

    Raises:
        UserError: for an unknown scale, or "paper" where there is none.
    """
    check_scale(scale)
    if scale == "paper" and not published:
        raise UserError(f"{name} is of no paper: its only scale is 'laptop'")
    return scale == "paper"


def in_epochs(epochs: int, examples: int, batch_size: int) -> dict[str, int]:
    """Settings of training by epochs: the budget in steps, and a validation every epoch."""
    steps_per_epoch = math.ceil(examples / batch_size)
    return {
        "batch_size": batch_size,
        "steps": epochs * steps_per_epoch,
        "eval_every": steps_per_epoch,
    }
