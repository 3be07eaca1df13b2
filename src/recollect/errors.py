"""Errors for wrong input: they say what was given, what is allowed, and which name is nearest."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class UserError(ValueError):
    """Wrong input. The command line prints its message in one line and exits with code 2."""


class FatalError(UserError):
    """An error that ends the whole run, because all remaining work would fail in the same way."""


class CallsExit(RuntimeError):
    """A user's code called `exit()`, which would end the whole program."""


def no_exit(call: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function that runs a user's code, so that `SystemExit` becomes `CallsExit`."""

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
    """An exception's message in one line.

    It is the first line of the message, followed by the last line if the message contains a
    traceback (as TorchScript's do) or its first line ends in a colon.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return ""
    continues = lines[0].endswith(":") or any("Traceback" in line for line in lines)
    return f"{lines[0]} {lines[-1]}" if continues and len(lines) > 1 else lines[0]


def in_a_line(error: BaseException) -> str:
    """The whole message of an exception in one line, or the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def to_install(extra: str) -> str:
    """The command that installs an extra, for messages.

    It names the repository, because `recollect` is another package on the public index.
    """
    return f"pip install '.[{extra}]' in the folder of Recollect's repository"


def show_warnings_plainly() -> None:
    """Show warnings in this process as one line each, without the place in the code."""
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"


LISTED = 60
"""If there are more choices than this, an error lists only those near the given name."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is not in `choices`; it suggests the nearest valid name."""
    known = sorted(choices)
    if not known:
        return UserError(f"unknown {kind} {name!r}: there are none to choose from")
    near = nearest(name, known)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = near if near and len(known) > LISTED else known
    return UserError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(listed)}")


def nearest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices most similar to a name, ignoring case, nearest first."""
    by_case = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(name.casefold(), by_case, n=5, cutoff=0.4)
    return [by_case[folded] for folded in near]
