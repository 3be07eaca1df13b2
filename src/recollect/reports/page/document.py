"""The HTML of a page: data, styles, scripts and the figures' library in one text.

Vega-Lite draws the figures as SVG. The data are JSON in a script element; every `<` is escaped
there, so that no name can end the element, and the page inserts names only as text. The content
security policy forbids the browser to load anything from elsewhere.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from recollect.language.extras import optional
from recollect.text_output import write_text

PROGRAMS = (
    "dom.js",
    "table.js",
    "figure.js",
    "specs.js",
    "points.js",
    "panels.js",
    "toggles.js",
    "details.js",
    "study.js",
    "claims.js",
    "reproductions.js",
    "page.js",
)
"""The scripts, in the order in which the browser reads them."""


def document(studies: Sequence[dict[str, Any]], *, stand: str | None = None) -> str:
    """The page of one or more studies.

    Args:
        studies: the studies' data, from `study_data`.
        stand: the version of the data of a served page, which asks for newer ones (`serve`). None:
            the page asks for nothing.

    Raises:
        UserError: if the figures' library (extra `report`) is not installed.
    """
    names = ", ".join(study["name"] for study in studies)
    return _page(names, {"stand": stand, "studies": list(studies)})


def reproductions_document(reproductions: dict[str, Any]) -> str:
    """The page of reproductions.

    Args:
        reproductions: their data, from `reproduction_data`.

    Raises:
        UserError: as in `document`.
    """
    return _page("Reproductions", {"stand": None, "reproductions": reproductions})


def _page(subject: str, data: dict[str, Any]) -> str:
    parts = {
        "title": html.escape(f"{subject} – Recollect"),
        "connect": "'none'" if data["stand"] is None else "'self'",
        "style": _asset("page.css"),
        "data": as_json(data).replace("<", "\\u003c"),
        "library": _in_script(_library()),
        "programs": _in_script("\n".join(map(_asset, PROGRAMS))),
    }
    page, *rest = _asset("page.html").split("{{")
    for piece in rest:
        name, _, text = piece.partition("}}")
        page += parts[name] + text
    return page


def as_json(value: Any) -> str:
    """The data of the page as JSON; NaN and infinity are not allowed."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def write_page(studies: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the page of studies.

    Raises:
        UserError: as in `document` and `write_text`.
    """
    write_text(path, document(studies))


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed; bundling them takes some seconds."""
    bundle: str = optional("vl_convert", "report").javascript_bundle()
    return bundle


def _in_script(program: str) -> str:
    """Escape the two texts that would end or change a script element."""
    return program.replace("</script", "<\\/script").replace("<!--", "<\\!--")
