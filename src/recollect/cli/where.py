"""Options shared by commands: where trials run, and where their results are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recollect.cli.option_names import as_typed
from recollect.cli.output import whole_number

STORE = Path("recollect.db")

StoreOption = Annotated[
    Path, typer.Option("--store", metavar="FILE", help="The file of results.", show_default=True)
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        parser=whole_number,
        metavar="N",
        help="Processes that train on the CPU; default: one per core; 0: train in this process.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda", help="Where to train; cuda:1 is the second GPU."
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="processes|population|ray",
        help="What runs the trials: processes of this machine, this process, or a Ray cluster"
        " (extra `ray`, docs/cluster.md).",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The head of the Ray cluster; default: RAY_ADDRESS; without it, Ray is started on"
        " this machine.",
    ),
]
GpusPerJob = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE", help="With --on ray: the share of a GPU for each process, such as 0.5."
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")]


def cluster_options(
    on: str | None, *, address: str | None, gpus_per_job: str | None
) -> dict[str, str]:
    """The options of a Ray cluster, for `run_study`.

    Raises:
        UserError: if they are given for another executor.
    """
    from recollect.execution.places import executor_options

    typed = {"address": "--address", "gpus_per_job": "--gpus-per-job", "on='ray'": "--on ray"}
    with as_typed(typed):
        return executor_options(on, address=address, gpus_per_job=gpus_per_job)
