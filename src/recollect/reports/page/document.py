"""The HTML of the page: data, styles, programs and the figures' library in one text.

Its figures are drawn by Vega-Lite in SVG. Data are JSON in a script element, in which every `<` is
written as an escape, so that no name can end the element; the page puts names in as text only. The
content security policy lets the browser load nothing from elsewhere.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from recollect.files import replacing
from recollect.language.extras import optional

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
    "page.js",
)
"""In the order in which the browser reads them."""


def document(studies: Sequence[dict[str, Any]], *, stand: str | None = None) -> str:
    """The page of some studies.

    Args:
        studies: as `study_data` gives them.
        stand: of a page that is served, which of the data it has: it asks for newer ones
            (`serve`). None: it asks for nothing.

    Raises:
        UserError: if the figures' library (extra `report`) is not installed.
    """
    names = ", ".join(study["name"] for study in studies)
    parts = {
        "title": html.escape(f"{names} – Recollect"),
        "connect": "'none'" if stand is None else "'self'",
        "style": _asset("page.css"),
        "data": as_json({"stand": stand, "studies": list(studies)}).replace("<", "\\u003c"),
        "library": _in_script(_library()),
        "programs": _in_script("\n".join(map(_asset, PROGRAMS))),
    }
    page, *rest = _asset("page.html").split("{{")
    for piece in rest:
        name, _, text = piece.partition("}}")
        page += parts[name] + text
    return page


def as_json(value: Any) -> str:
    """The data of the page; NaN and infinite numbers must not be among them."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def write_page(studies: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        UserError: as `document` does, and where the file cannot be written.
    """
    text = document(studies)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed, which takes some seconds to put together."""
    bundle: str = optional("vl_convert", "report").javascript_bundle()
    return bundle


def _in_script(program: str) -> str:
    """A program as it may stand in a script element, which two texts would end or change."""
    return program.replace("</script", "<\\/script").replace("<!--", "<\\!--")
