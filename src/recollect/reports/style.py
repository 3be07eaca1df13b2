"""How a mixer looks in every figure: one colour and one marker, the same everywhere.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), yellow left out since it is
faint on white, and three of Paul Tol's "muted" scheme. No two mixers share colour and marker.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recollect.errors import UserError
from recollect.files import replacing
from recollect.reports.canvas import drawing, to_hex, to_rgb

if TYPE_CHECKING:
    from pathlib import Path

    from recollect.reports.canvas import Figure

COLOURS = (
    "#0072B2",  # blue
    "#D55E00",  # vermillion
    "#009E73",  # green
    "#E69F00",  # orange
    "#CC79A7",  # purple
    "#56B4E9",  # sky blue
    "#000000",  # black
)
OWN_COLOURS = ("#882255", "#999933", "#332288")  # wine, olive, indigo
"""For mixers that are not shipped."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
GREY = "#777777"
CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (2, 2))}
"""The line of what guessing gets."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))

PLACES = (
    "attention",
    "mamba",
    "hyena",
    "base-conv",
    "long-conv",
    "delta-net",
    "h3",
    "sliding-window",
    "retnet",
    "mamba2",
    "rwkv4",
    "linear-attention",
    "s6",
    "gated-delta-net",
    "sparse-attention",
    "rg-lru",
    "gla",
    "taylor-linear-attention",
    "rwkv7",
    "input-dependent-conv",
)
"""A mixer's place in this list is its colour and marker: append only. Those seven apart share a
colour, and are seldom compared."""

COLUMN = 3.4
PAGE = 7.0
"""Widths of one column and of the whole page of a two-column paper, in inches."""

METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
"""What each format must not write into a file, so that the same figure gives the same bytes."""


@dataclass(frozen=True)
class Look:
    """How one mixer is drawn."""

    colour: str
    marker: str

    def line(self) -> dict[str, Any]:
        """The keyword arguments of matplotlib's `plot`."""
        return {"color": self.colour, "marker": self.marker, "markeredgewidth": 0.9}


def looks(mixers: Iterable[str]) -> dict[str, Look]:
    """The look of each mixer label.

    A shipped mixer has its place for ever. Others, layer patterns too, have colours that no shipped
    one has, in the order given. Variants of a mixer (`mamba(d_conv=0)`, `mamba [mlp=gelu]`) have
    shades of its colour and markers of their own.
    """
    labels = list(dict.fromkeys(mixers))
    names = [_name(label) for label in labels]
    own = [name for name in dict.fromkeys(names) if name not in PLACES]
    found: dict[str, Look] = {}
    variants: Counter[str] = Counter()
    for label, name in zip(labels, names, strict=True):
        variants[name] += label != name
        turn = variants[name] if label != name else 0
        colours, places = (OWN_COLOURS, own) if name in own else (COLOURS, PLACES)
        place = places.index(name)
        first = len(COLOURS) if name in own else 0  # other markers than those of the best known
        marker = MARKERS[(first + place + 5 * turn) % len(MARKERS)]
        found[label] = Look(_shade(colours[place % len(colours)], turn), marker)
    return found


def dashes(depths: Iterable[int]) -> dict[int, Any]:
    """The line style of each depth, the deepest drawn solid."""
    ordered = sorted(set(depths), reverse=True)
    return {depth: DASHES[min(i, len(DASHES) - 1)] for i, depth in enumerate(ordered)}


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; its format is the file's suffix.

    The same figure gives the same bytes: no date and no version goes into the file.

    Raises:
        UserError: for a suffix other than .pdf, .png and .svg, or a folder that cannot be written.
    """
    form = path.suffix.removeprefix(".")
    if form not in METADATA:
        raise UserError(f"{path}: figures are written as {', '.join(METADATA)}")
    with replacing(path) as temporary, drawing():
        figure.savefig(temporary, format=form, metadata=METADATA[form])


def _shade(colour: str, turn: int) -> str:
    """A colour as it is, then a darker and a lighter one in turn."""
    if turn == 0:
        return colour
    towards = 0.0 if turn % 2 else 1.0
    red, green, blue = (0.55 * part + 0.45 * towards for part in to_rgb(colour))
    return to_hex((red, green, blue))


def _name(label: str) -> str:
    """The label without options and recipe."""
    return re.sub(r"\([^()]*\)| \[.*\]$", "", label)
