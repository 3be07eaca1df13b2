"""Measure in a child process, which isolates memory and threads and may die without harm."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from recollect.errors import UserError
from recollect.execution.workers import die_with_parent, inheriting
from recollect.referee.verdict import Misbehaviour

Item = TypeVar("Item")
OUT_OF_MEMORY = ("allocate memory", "out of memory")


class MeasurementFailed(Exception):
    """A measurement failed; the message gives the reason in one line."""


def explain(error: Exception) -> str:
    """The reason why a measurement failed, in one line."""
    message = str(error).strip().partition("\n")[0]
    # PyTorch raises no specific exception when the CPU's memory runs out
    if isinstance(error, MemoryError) or any(sign in message for sign in OUT_OF_MEMORY):
        return "memory ran out"
    if isinstance(error, MeasurementFailed | UserError | Misbehaviour):
        return message
    return f"{type(error).__name__}: {message}"


@dataclass(frozen=True)
class _Last:
    """The last message of a child.

    Attributes:
        failure: the reason of a failure; empty after success.
    """

    failure: str = ""


def in_child(
    function: Callable[..., Iterator[Item]], *arguments: Any, threads: int
) -> Iterator[Item]:
    """Run a generator function in a spawned process, and yield its items.

    Args:
        function: a function at the top level of a module, so that the child can import it.
        arguments: its arguments.
        threads: the number of threads of every library in the child.

    Raises:
        MeasurementFailed: if the function raises or its process dies; earlier items are valid.
    """
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_serve, args=(theirs, threads, function, arguments), daemon=True
    )
    with inheriting(threads=threads):
        process.start()
    theirs.close()
    try:
        while not isinstance(message := _receive(connection, process), _Last):
            yield message
    finally:
        process.terminate()
        process.join()
        connection.close()
    if message.failure:
        raise MeasurementFailed(message.failure)


def _receive(connection: Connection, process: Any) -> Any:
    try:
        return connection.recv()
    except EOFError:
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        reason = "was killed, most often because memory ran out" if killed else "died"
        raise MeasurementFailed(f"its process {reason} (exit code {process.exitcode})") from None


def _serve(
    connection: Connection,
    threads: int,
    function: Callable[..., Iterator[object]],
    arguments: tuple[Any, ...],
) -> None:
    """The main function of the child process."""
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=die_with_parent, daemon=True).start()
    try:
        for item in function(*arguments):
            connection.send(item)
        connection.send(_Last())
    except Exception as error:
        connection.send(_Last(explain(error)))
