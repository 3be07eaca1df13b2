"""`recollect check`: the referee's report on a mixer."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from recollect.cli.output import Adapt, Json, console, print_json, progress_bars

FAILED = 1
"""The exit code if a mixer fails a check."""


def check(
    mixer: Annotated[
        str,
        typer.Argument(
            metavar="MIXER",
            help="A mixer or layer pattern of the catalogue, a class of your own"
            " (package.module:Class or file.py:Class), or one of transformers, such as"
            " hf:mamba2.",
        ),
    ],
    d_model: Annotated[
        int, typer.Option(metavar="N", min=1, help="The width (d_model) to check at.")
    ] = 64,
    max_len: Annotated[
        int, typer.Option(metavar="N", min=64, help="The longest sequence to check.")
    ] = 261,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OPTION=VALUE", help="Set an option of the mixer; repeatable."
        ),
    ] = None,
    adapt: Adapt = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to run.")] = "cpu",
    speed: Annotated[
        bool,
        typer.Option("--speed", help="Also measure its speed, and attention's for comparison."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a mixer: is it causal, does it learn, does its step form agree, what does it cost?

    Exits with 1 if the mixer fails a check. A check that cannot be run is not a failure.
    """
    from recollect.cli.find import parse_mixer
    from recollect.referee.check import check as judge
    from recollect.referee.check import ignore

    with progress_bars() as progress, redirect_stdout(sys.stderr if as_json else sys.stdout):
        report = judge(  # with --json, what the mixer prints goes to standard error
            parse_mixer(mixer, adapt or [], settings or []),
            d_model=d_model,
            max_len=max_len,
            device=device,
            speed=speed,
            progress=ignore if as_json else progress,
        )
    if as_json:
        print_json(report.to_json())
    else:
        console().print(report.table())
    if not report.ok:
        raise typer.Exit(FAILED)
