"""What users are told when their input is wrong: what was given, what is allowed, what is near."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class UserError(ValueError):
    """Wrong input. The command line prints its message in one line and exits with code 2."""


class FatalError(UserError):
    """What ends a whole run: everything else that it would do would fail in the same way."""


class CallsExit(RuntimeError):
    """A user's code called `exit()`, which would end the whole program."""


def no_exit(call: Callable[P, R]) -> Callable[P, R]:
    """A function that runs a user's code, with `CallsExit` in place of `SystemExit`."""

    @wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except SystemExit as error:
            code = "" if error.code is None else repr(error.code)
            raise CallsExit(
                f"it calls exit({code}), which would end the program; raise an exception there"
            ) from error

    return run


def summary(error: BaseException) -> str:
    """An exception's message in one line: the first, and the last where the reason is there, as
    in messages of TorchScript, which have a traceback within."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return ""
    told_later = lines[0].endswith(":") or any("Traceback" in line for line in lines)
    return f"{lines[0]} {lines[-1]}" if told_later and len(lines) > 1 else lines[0]


LISTED = 60
"""Of more names than these, only those that are near are listed."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is none of `choices`, with the nearest valid one."""
    known = sorted(choices)
    if not known:
        return UserError(f"unknown {kind} {name!r}: it has none")
    near = nearest(name, known)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = near if near and len(known) > LISTED else known
    return UserError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(listed)}")


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices that are most like a name, whatever their case, from the nearest."""
    by_case = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(name.casefold(), by_case, n=5, cutoff=0.4)
    return [by_case[folded] for folded in near]
