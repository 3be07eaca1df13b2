"""`recollect export` and `recollect merge`: stores as files to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recollect.cli.output import Json, print_json

Existing = Annotated[Path, typer.Argument(metavar="STORE", help="A store.")]


def export(
    store: Existing,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; a new one.")],
    as_json: Json = False,
) -> None:
    """Write a store's results to one new file.

    It is a store itself, without checkpoints, weights and observations.
    """
    from recollect.studies.store import Store
    from recollect.studies.transfer import export as export_store

    with Store(store, must_exist=True) as opened:
        export_store(opened, file)
    if as_json:
        print_json({"written": str(file)})
    else:
        typer.echo(f"wrote {file}")


def merge(
    store: Existing,
    others: Annotated[
        list[Path],
        typer.Argument(metavar="OTHER...", help="Stores to read; they stay as they are."),
    ],
    as_json: Json = False,
) -> None:
    """Add to a store what others have.

    Of a trial in several, the one that came further counts.
    """
    from recollect.studies.store import Store
    from recollect.studies.transfer import merge as merge_store

    with Store(store, must_exist=True) as opened:
        merged = {str(other): merge_store(opened, other) for other in others}
    if as_json:
        print_json({name: vars(result) for name, result in merged.items()})
        return
    for name, result in merged.items():
        typer.echo(f"{name}: {result.trials} trials and {result.cells} cells added")
        for study in result.other_studies:
            typer.echo(f"{name}: the study {study} has other settings there; its table stays ours")
