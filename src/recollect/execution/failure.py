"""Failed trials: what is stored about them, and how executors report them."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from recollect.errors import FatalError, UserError

MESSAGE_CHARACTERS = 500
TRACEBACK_CHARACTERS = 4000
"""Characters kept from the beginning of a message and from the end of a traceback."""


@dataclass(frozen=True)
class Failure:
    """Why a trial failed.

    Attributes:
        message: short reason, such as "RuntimeError: shapes do not match".
        traceback: last lines of the traceback; empty if there is none (a killed process).
    """

    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Failure for an exception."""
        if isinstance(error, TrialFailed):
            return error.failure
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return cls(
            _text(message[:MESSAGE_CHARACTERS]), _text(lines.rstrip()[-TRACEBACK_CHARACTERS:])
        )


class TrialFailed(RuntimeError):
    """A trial or other work raised an exception, or its worker process died.

    Args:
        message: names the work.
        failure: what is stored; None: the message.
    """

    def __init__(self, message: str, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.failure = failure or Failure(message)

    def __reduce__(self) -> tuple[type[TrialFailed], tuple[str, Failure]]:
        return type(self), (str(self), self.failure)  # it is sent between processes


class WorkerLost(TrialFailed):
    """The worker process died; the cause may be the trial or the machine."""


class NodeLost(WorkerLost):
    """The worker's machine died or cannot be reached; the trial is not the cause."""


@dataclass(frozen=True)
class Raised:
    """A worker's report on work that raised an exception.

    Attributes:
        failure: the reason.
        kind: `FatalError`, `UserError` or `Exception`.
    """

    failure: Failure
    kind: type[Exception]

    @classmethod
    def by(cls, error: Exception) -> Raised:
        """Report on an exception."""
        kinds = (FatalError, UserError, Exception)
        return cls(Failure.of(error), next(kind for kind in kinds if isinstance(error, kind)))

    def reason(self, title: str) -> Exception:
        """Exception to raise in the process that submitted the work, which messages call
        `title`."""
        if self.kind is FatalError:
            return FatalError(self.failure.message)
        if self.kind is UserError:
            return TrialFailed(f"{title}: {self.failure.message}", self.failure)
        return TrialFailed(f"{title} raised in its worker:\n{self.failure.traceback}", self.failure)


def _text(text: str) -> str:
    """Text without lone surrogates and NUL, which files and databases may refuse."""
    return text.encode(errors="replace").decode().replace("\0", "")
