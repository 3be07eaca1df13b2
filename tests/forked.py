"""Programs in processes of their own that find PyTorch imported.

A server imports the package once and forks a process for each program, which then starts in a tenth
of a second. Where the start itself is tested, a test starts an interpreter.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

_SERVER = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
_SERVER.set_forkserver_preload(["recollect.api.run", "recollect.papers.reproduction"])


def start(function: Callable[..., None], *words: object) -> BaseProcess:
    """Start a function of a module."""
    process = _SERVER.Process(target=function, args=words)
    process.start()
    return process


def run(
    script: Path, *words: object, folder: Path, env: dict[str, str] | None = None
) -> CompletedProcess[str]:
    """Run a script in a folder, as `python SCRIPT WORDS` does, and wait for its end.

    Args:
        script: the file.
        words: its arguments.
        folder: its working directory.
        env: variables of its environment, beside those of this process.
    """
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place) / "out", Path(place) / "err"
        arguments = [str(script), *map(str, words)]
        process = start(_run, arguments, folder, os.environ | (env or {}), out, err)
        process.join()
        return CompletedProcess(arguments, process.exitcode, out.read_text(), err.read_text())


def _run(arguments: list[str], folder: Path, env: dict[str, str], out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.argv[:] = arguments
    sys.path.insert(0, str(Path(arguments[0]).parent))
    runpy.run_path(arguments[0], run_name="__main__")
