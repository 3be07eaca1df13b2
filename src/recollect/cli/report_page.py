"""`recollect report`: stored studies as a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recollect.cli.output import console, whole_number
from recollect.cli.where import STORE, StoreOption
from recollect.errors import UserError

PAGE = Path("report.html")


def report(
    studies: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STUDY]...", help="Studies in the store; default: the latest."),
    ] = None,
    store: StoreOption = STORE,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The HTML file; default: report.html.", show_default=False
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Serve the page on this machine and follow a running study; writes no file.",
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            parser=whole_number, metavar="N", help="Port for --serve; default: any free one."
        ),
    ] = None,
) -> None:
    """Write studies to one HTML page with interactive tables and figures.

    The page needs no network. Its figures need the extra `report`.
    """
    from recollect.cli.report import latest_study, written
    from recollect.reports.page.document import write_page
    from recollect.studies.store import Store

    if serve and out is not None:
        raise UserError(f"--serve writes no file: leave out --out {out}, or --serve")
    if port is not None and not serve:
        raise UserError(f"--port {port} is for --serve: give both or neither")
    with Store(store, must_exist=True) as opened:
        named = list(dict.fromkeys(studies or [latest_study(opened)]))
        for name in named:
            opened.cells(name)  # raises if it does not exist
    if serve:
        _serve(named, store, port or 0)
        return
    path = out or PAGE
    write_page(page_data(named, store), path)
    written(path)


def page_data(names: list[str], path: Path) -> list[dict[str, Any]]:
    """The data of the page, all read at the same moment."""
    from recollect.cli.report import COMMANDS
    from recollect.reports.page.study_data import stored_study
    from recollect.studies.store import Store

    with Store(path, must_exist=True) as store, store.file.at_one_moment():
        return [stored_study(store, name, COMMANDS) for name in names]


def _serve(names: list[str], path: Path, port: int) -> None:
    """Serve the page until Ctrl-C."""
    from recollect.reports.page.serve import PageSource, page_server

    server = page_server(PageSource(lambda: page_data(names, path), lambda: page_stand(path)), port)
    with server:
        host, bound = server.server_address[:2]
        address = f"http://{host!s}:{bound}/"
        line = f"{address} shows {', '.join(names)}; Ctrl-C ends it"
        console().print(line, markup=False, soft_wrap=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def page_stand(path: Path) -> str:
    """A digest that changes whenever the store's trials or studies change."""
    from recollect.config import digest
    from recollect.studies.store import Store

    with Store(path, must_exist=True) as store:
        listed = store.rows("SELECT name, updated FROM studies ORDER BY name")
        return digest([sorted(store.stands().items()), [list(row) for row in listed]])
