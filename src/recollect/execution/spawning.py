"""Checks before worker processes are started; each worker imports the user's script again."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

from recollect.errors import UserError

_is_worker = False


def become_worker() -> None:
    """Mark this process as a worker."""
    global _is_worker
    _is_worker = True


def check_start(workers: int) -> None:
    """Check that a study can be started in this process.

    Args:
        workers: number of worker processes it will have.

    Raises:
        UserError: in a worker that is importing the script that started it (it would wait for
            itself), in a script that workers cannot import, and in a process that may not start
            others.
    """
    process = multiprocessing.current_process()
    # multiprocessing itself checks `_inheriting`
    if _is_worker or getattr(process, "_inheriting", False):
        raise UserError(
            "a worker process imported this script to find its classes, and the script began the"
            ' study again: put the code that starts a study below `if __name__ == "__main__":`'
        )
    if workers and process.daemon:
        raise UserError(
            f"workers={workers}: this is a worker process of another pool, which may not start"
            " processes; use workers=0"
        )
    script = getattr(sys.modules["__main__"], "__file__", None)
    if workers and script is not None and not Path(script).exists():
        raise UserError(
            f"workers={workers}: worker processes import the script again, but {script} is not a"
            " file; save the script to a file, or use workers=0"
        )
