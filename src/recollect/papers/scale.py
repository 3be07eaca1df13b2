"""The scales of shipped studies.

"laptop" is a smaller version of the experiment, and "quick" the part of it that takes an hour on
two cores. "paper" has the published settings. "workstation" lies between: language models that take
hours on one GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from recollect.errors import UserError, unknown

SCALES = ("laptop", "paper")
DEFAULT_SCALE, QUICK = "laptop", "quick"
TEXT_SCALE = "paper-text"
"""The settings of the paper's text, where its code differs."""
LANGUAGE_SCALES = ("laptop", "workstation", "paper")
"""The scales of language models."""


def check_scale(scale: str, scales: Sequence[str] = SCALES) -> None:
    """Check that a scale exists.

    Raises:
        UserError: if it does not.
    """
    if scale not in scales:
        raise unknown("scale", scale, scales)


def is_paper(name: str, scale: str, *, published: bool = True) -> bool:
    """Return True if the scale is "paper".

    Args:
        name: the name of the study, for messages.
        scale: the scale given by the user.
        published: False if the study reproduces no paper.

    Raises:
        UserError: for an unknown scale, or for "paper" if the study reproduces no paper.
    """
    check_scale(scale)
    if scale == "paper" and not published:
        raise UserError(f"{name} does not reproduce a paper: its only scale is 'laptop'")
    return scale == "paper"


def in_epochs(epochs: int, examples: int, batch_size: int) -> dict[str, int]:
    """Training settings for a budget in epochs, with a validation after each epoch."""
    steps_per_epoch = math.ceil(examples / batch_size)
    return {
        "batch_size": batch_size,
        "steps": epochs * steps_per_epoch,
        "eval_every": steps_per_epoch,
    }
