"""The files that `recollect reproduce` writes: figures, and pages in Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recollect.errors import UserError

if TYPE_CHECKING:
    from recollect.papers.reproduction import Outcome
    from recollect.studies.store import Store

MARKDOWN, HTML = ".md", ".html"


def check_page(page: Path) -> None:
    """Check that the name of a page says its format.

    Raises:
        UserError: if it does not.
    """
    if page.suffix not in (MARKDOWN, HTML):
        raise UserError(
            f"--page {page}: expected a name that ends in {MARKDOWN} (Markdown, with figures beside"
            f" it) or {HTML} (one HTML file)"
        )


def write_page(outcomes: Sequence[Outcome], store: Store, page: Path, names: Sequence[str]) -> None:
    """Write the page of reproductions in the format of its name.

    Args:
        outcomes: the reproductions with their results.
        store: the store of the results.
        page: the file.
        names: the names that the user has typed.
    """
    from recollect.cli.report import COMMANDS, written
    from recollect.reports import reproductions
    from recollect.reports.page.document import reproductions_document
    from recollect.reports.page.reproduction_data import reproductions_data
    from recollect.text_output import write_text

    if page.suffix == HTML:
        data = reproductions_data(outcomes, store, asked=names, remedies=COMMANDS)
        write_text(page, reproductions_document(data))
    else:
        figures = draw(outcomes, page.parent / "figures", ("png",), prefix=f"{page.stem}-")
        reproductions.write_page(outcomes, figures, page, asked=names)
    written(page)


def draw(
    outcomes: Sequence[Outcome], folder: Path, forms: Sequence[str], prefix: str = ""
) -> dict[str, list[Path]]:
    """Write the figures; returns their paths in the last format by the name of the reproduction.

    Names of files end in the scale, except at the default one, so that figures of two scales fit
    into one folder. Those of a page start with its name, so that figures of two pages do too.
    """
    from recollect.cli.report import written
    from recollect.papers.scale import DEFAULT_SCALE
    from recollect.reports.reproduction_figures import reproduction_figures
    from recollect.reports.style import save

    paths: dict[str, list[Path]] = {}
    for each in outcomes:
        of_scale = "" if each.scale == DEFAULT_SCALE else f"-{each.scale}"
        for name, figure in reproduction_figures(each).items():
            files = [folder / f"{prefix}{name}{of_scale}.{form}" for form in forms]
            for path in files:
                save(figure, path)
            written(*files)
            paths.setdefault(each.reproduction.name, []).append(files[-1])
    return paths
