"""`recollect export` and `recollect merge`: copy and combine stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recollect.cli.output import Json, print_json
from recollect.errors import UserError

if TYPE_CHECKING:
    from recollect.studies.transfer import Merged

Existing = Annotated[Path, typer.Argument(metavar="STORE", help="A store.")]


def export(
    store: Existing,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file to write.")],
    as_json: Json = False,
) -> None:
    """Copy a store's results to one new file.

    The file is a store itself, without checkpoints, weights and observations.
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
        typer.Argument(metavar="OTHER...", help="Stores to read; they are not changed."),
    ],
    as_json: Json = False,
) -> None:
    """Add the results of other stores to a store; the others are not changed.

    If several stores have the same trial, the one with more training steps is kept.
    """
    from recollect.studies.listing import few
    from recollect.studies.store import Store
    from recollect.studies.transfer import merge as merge_store

    if not store.exists():
        raise UserError(
            f"there is no store {store} to merge into: name an existing store first, then the"
            " stores to add to it"
        )
    for other in others:
        if not other.exists():
            raise UserError(f"there is no store {other} to merge from: nothing was merged")
    with Store(store) as opened:
        merged = {str(other): merge_store(opened, other) for other in others}
    if as_json:
        print_json({name: vars(result) for name, result in merged.items()})
        return
    for name, result in merged.items():
        typer.echo(f"{name}: {_merge_text(result)}")
        for study, reasons in result.differences.items():
            typer.echo(
                f"{name}: cells not added to the table of {study} (in brackets: this store):"
                f" {few(reasons)}"
            )


def _merge_text(merged: Merged) -> str:
    """What a merge added, or why it added nothing."""
    if merged.trials or merged.cells or merged.failures:
        failed = f", {merged.failures} failed trials" if merged.failures else ""
        return f"{merged.trials} trials and {merged.cells} cells added{failed}"
    if not merged.found:
        return "nothing added: that store has no trials"
    return f"nothing added: all {merged.found} trials are already in this store"
