"""Look of a mixer on the page: the colour and marker of the figures, on light and dark."""

from __future__ import annotations

from recollect.reports.canvas import to_hex, to_rgb
from recollect.reports.style import Look

SHAPES = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-1,-0.6L-0.6,-1L0,-0.4L0.6,-1L1,-0.6L0.4,0L1,0.6L0.6,1L0,0.4L-0.6,1L-1,0.6L-0.4,0Z",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z",
    "h": "M0,-1L0.87,-0.5L0.87,0.5L0,1L-0.87,0.5L-0.87,-0.5Z",
}
"""The markers of `style.MARKERS` in Vega: a name or a path."""
READABLE = 0.13
"""Relative luminance with a contrast of 3 to 1 to the dark page, as WCAG requires for figures."""


def page_look(look: Look) -> dict[str, str]:
    """The colours on light and dark, and the shape."""
    return {"light": look.colour, "dark": on_dark(look.colour), "shape": SHAPES[look.marker]}


def on_dark(colour: str) -> str:
    """Mix a colour with white until it is readable on dark."""
    rgb = to_rgb(colour)
    for share in (0.0, 0.15, 0.3, 0.45, 0.6, 0.75):
        mixed = tuple(part + share * (1 - part) for part in rgb)
        if _luminance(mixed) >= READABLE:
            break
    return str(to_hex((mixed[0], mixed[1], mixed[2])))


def _luminance(rgb: tuple[float, ...]) -> float:
    """The relative luminance of an sRGB colour, as WCAG defines it."""
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
