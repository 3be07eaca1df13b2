"""Why a trial has no outcome: what is stored of it, and how an executor reports it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from recollect.errors import FatalError, UserError

MESSAGE_CHARACTERS = 500
TRACEBACK_CHARACTERS = 4000
"""What is kept of a long message, from its beginning, and of a long traceback, from its end."""


@dataclass(frozen=True)
class Failure:
    """Why a trial has no outcome.

    Attributes:
        message: in short: "RuntimeError: shapes do not match".
        traceback: its last lines; empty where there is none, as of a process that was killed.
    """

    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """What is kept of an exception."""
        if isinstance(error, TrialFailed):
            return error.failure
        told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return cls(_text(told[:MESSAGE_CHARACTERS]), _text(lines.rstrip()[-TRACEBACK_CHARACTERS:]))


class TrialFailed(RuntimeError):
    """A trial or other work raised, or its worker process died.

    Args:
        message: names the work.
        failure: what is stored of it; the message alone if not given.
    """

    def __init__(self, message: str, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.failure = failure or Failure(message)

    def __reduce__(self) -> tuple[type[TrialFailed], tuple[str, Failure]]:
        return type(self), (str(self), self.failure)  # it crosses processes


class WorkerLost(TrialFailed):
    """The worker process died, which may have been the machine's fault."""


class NodeLost(WorkerLost):
    """The machine of the worker died or cannot be reached, which is not the trial's fault."""


@dataclass(frozen=True)
class Raised:
    """What a worker says of work that raised.

    Attributes:
        failure: why.
        kind: which of `FatalError`, `UserError` and `Exception` it was.
    """

    failure: Failure
    kind: type[Exception]

    @classmethod
    def by(cls, error: Exception) -> Raised:
        """What is said of an exception."""
        kinds = (FatalError, UserError, Exception)
        return cls(Failure.of(error), next(kind for kind in kinds if isinstance(error, kind)))

    def reason(self, title: str) -> Exception:
        """The exception for the process that gave the work, which is called `title`."""
        if self.kind is FatalError:
            return FatalError(self.failure.message)
        if self.kind is UserError:
            return TrialFailed(f"{title}: {self.failure.message}", self.failure)
        return TrialFailed(f"{title} raised in its worker:\n{self.failure.traceback}", self.failure)


def _text(text: str) -> str:
    """The same as text that any file and database takes: no lone surrogates, no NUL."""
    return text.encode(errors="replace").decode().replace("\0", "")
