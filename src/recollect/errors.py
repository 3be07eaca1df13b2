"""What users are told when their input is wrong: what was given, what is allowed, what is near."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Wrong input. The command line prints its message in one line and exits with code 2."""


class FatalError(UserError):
    """What ends a whole run: everything else that it would do would fail in the same way."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is none of `choices`, with the nearest valid one."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(known)}")
