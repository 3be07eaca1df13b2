"""What users are told when their input is wrong: what was given, what is allowed, what is near."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Wrong input. The command line prints its message in one line and exits with code 2."""


class FatalError(UserError):
    """What ends a whole run: everything else that it would do would fail in the same way."""


LISTED = 60
"""Of more names than these, only those that are near are listed."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is none of `choices`, with the nearest valid one."""
    known = sorted(choices)
    near = nearest(name, known)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = near if near and len(known) > LISTED else known
    return UserError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(listed)}")


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices that are most like a name, whatever their case, from the nearest."""
    by_case = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(name.casefold(), by_case, n=5, cutoff=0.4)
    return [by_case[folded] for folded in near]
