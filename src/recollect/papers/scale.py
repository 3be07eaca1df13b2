"""The two sizes of a shipped study: "laptop" keeps the question, "paper" the published setting."""

from __future__ import annotations

from recollect.errors import UserError, unknown

SCALES = ("laptop", "paper")


def is_paper(name: str, scale: str, *, published: bool = True) -> bool:
    """Whether the study `name` is wanted as it was published.

    Args:
        name: of the study.
        scale: what the user typed.
        published: whether there is a publication to follow.

    Raises:
        UserError: for an unknown scale, or "paper" where there is none.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    if scale == "paper" and not published:
        raise UserError(f"{name} is of no paper: its only scale is 'laptop'")
    return scale == "paper"
