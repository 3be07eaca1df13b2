"""How a mixer looks in a figure: a colour and a marker.

A mixer has the same look in every figure, unless it would share its colour or marker there with
another: then one of the two has a spare one. The colours are those of Okabe and Ito (2008, "Color
Universal Design"), yellow left out since it is faint on white, and three of Paul Tol's "muted"
scheme.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recollect.errors import UserError
from recollect.files import replacing
from recollect.mixers.catalogue import MIXERS
from recollect.reports.canvas import to_hex, to_rgb

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
"""For mixers that are not shipped; then for shipped ones whose colour is taken."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
GREY = "#777777"
ANY = "black"
"""In a legend, the colour of marks that have their mixer's colour in the panels."""
CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (2, 2))}
"""The line of what guessing gets."""
LOOKS = len(COLOURS) * len(MARKERS)
"""How many pairs of a colour and a marker there are."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))

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
    """The look of each mixer label of a figure: all colours differ while there are enough, and so
    do all markers.

    A mixer of the catalogue has the look of its number, unless one with a lower number has its
    colour or marker. Others, layer patterns too, have colours of their own, in the order given.
    Variants of a mixer (`mamba(d_conv=0)`, `mamba [mlp=gelu]`) have shades of its colour and other
    markers.
    """
    labels = list(dict.fromkeys(mixers))
    own = [name for name in dict.fromkeys(map(_name, labels)) if _number(name) is None]

    def rank(label: str) -> tuple[bool, int, bool]:
        name = _name(label)
        number = _number(name)
        return number is None, own.index(name) if number is None else number, label != name

    ranked = sorted(labels, key=rank)
    names = [_name(label) for label in ranked]
    turns = [
        names[:place].count(name) + (name not in labels) if label != name else 0
        for place, (label, name) in enumerate(zip(ranked, names, strict=True))
    ]
    homes = {name: _home(name, own) for name in names}
    spare = (*OWN_COLOURS, *COLOURS)
    plain = _distinct([colour for colour, _ in homes.values()], spare)
    of_name = dict(zip(homes, plain, strict=True))
    shades = [_shade(of_name[name], turn) for name, turn in zip(names, turns, strict=True)]
    markers = [
        MARKERS[(homes[name][1] + 5 * turn) % len(MARKERS)]
        for name, turn in zip(names, turns, strict=True)
    ]
    each = map(Look, _distinct(shades, spare), _distinct(markers, MARKERS))
    found = dict(zip(ranked, each, strict=True))
    return {label: found[label] for label in labels}


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
    with replacing(path) as temporary:
        figure.savefig(temporary, format=form, metadata=METADATA[form])


def _home(name: str, own: Sequence[str]) -> tuple[str, int]:
    """A mixer's colour, and the place of its marker, where no other wants them."""
    number = _number(name)
    if number is not None:
        return COLOURS[number % len(COLOURS)], number
    place = own.index(name)
    return OWN_COLOURS[place % len(OWN_COLOURS)], len(COLOURS) + place  # not a well-known marker


def _number(name: str) -> int | None:
    """The number of a mixer's look: as registered, else from its name and above all registered."""
    if name not in MIXERS:
        return None
    registered = MIXERS[name].look
    return LOOKS + zlib.crc32(name.encode()) % LOOKS if registered is None else registered


def _distinct(wanted: Sequence[str], spare: Sequence[str]) -> list[str]:
    """What each wants; where an earlier one wants the same, what nobody wants, while there is
    any."""
    unwanted = iter([each for each in spare if each not in wanted])
    return [
        next(unwanted, each) if each in wanted[:place] else each
        for place, each in enumerate(wanted)
    ]


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
