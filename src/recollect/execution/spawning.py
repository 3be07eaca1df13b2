"""Whether worker processes can be started from here: each imports the user's script again."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

from recollect.errors import UserError

_is_worker = False


def become_worker() -> None:
    """Note that this process runs jobs for another."""
    global _is_worker
    _is_worker = True


def check_start(workers: int) -> None:
    """See that a study can be started here.

    Args:
        workers: how many worker processes it will have.

    Raises:
        UserError: where it cannot: in a worker that is importing the script that started it (it
            would wait for itself), in a script that workers cannot import, and in a process that
            may start no others.
    """
    process = multiprocessing.current_process()
    # the second as multiprocessing itself tells it
    if _is_worker or getattr(process, "_inheriting", False):
        raise UserError(
            "this script was started by a worker process, to find its classes, and has begun the"
            ' study again: what starts a study must stand below `if __name__ == "__main__":`'
        )
    if workers and process.daemon:
        raise UserError(
            f"workers={workers}: this is a worker process of another pool, which may start none of"
            " its own; take workers=0"
        )
    script = getattr(sys.modules["__main__"], "__file__", None)
    if workers and script is not None and not Path(script).exists():
        raise UserError(
            f"workers={workers}: worker processes import the script again, and {script} is not a"
            " file; save the script to one, or take workers=0"
        )
