"""How a mixer looks in every figure: one colour and one marker, the same everywhere.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), yellow left out since it is
faint on white, and three darker ones of Paul Tol's "muted" scheme. Pairs that are near for a
colour-blind reader are told apart by their markers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recollect.errors import UserError
from recollect.mixers.catalogue import MIXERS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

COLOURS = (
    "#0072B2",  # blue
    "#D55E00",  # vermillion
    "#009E73",  # green
    "#E69F00",  # orange
    "#CC79A7",  # purple
    "#56B4E9",  # sky blue
    "#000000",  # black
    "#882255",  # wine
    "#332288",  # indigo
    "#999933",  # olive
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
GREY = "#777777"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))

PLACES = ("attention", "mamba", "hyena", "base-conv", "long-conv")
"""A mixer's place in this list is its colour and marker: append only."""

COLUMN = 3.4
PAGE = 7.0
"""Widths of one column and of the whole page of a two-column paper, in inches."""

RC: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType, embedded: what publishers ask for
    "svg.fonttype": "none",
    "svg.hashsalt": "recollect",  # element ids that do not change from run to run
}


@dataclass(frozen=True)
class Look:
    """How one mixer is drawn; a variant of a mixer has its colour, and an open marker."""

    colour: str
    marker: str
    filled: bool

    def line(self) -> dict[str, Any]:
        """The keyword arguments of matplotlib's `plot`."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgewidth": 0.9,
        }


def looks(mixers: Iterable[str]) -> dict[str, Look]:
    """The look of each mixer label.

    A shipped mixer has its place for ever; others take the next places in the order given. Variants
    of a mixer (`mamba(d_conv=0)`, `mamba [mlp=gelu]`) share its colour and have markers of their
    own.
    """
    labels = list(dict.fromkeys(mixers))
    families = dict.fromkeys([*PLACES, *(_name(label) for label in labels)])
    places = {name: place for place, name in enumerate(families)}
    found: dict[str, Look] = {}
    variants: dict[str, int] = {}
    for label in labels:
        name = _name(label)
        turn = 0
        if label != name:
            turn = variants[name] = variants.get(name, 0) + 1
        marker = MARKERS[(places[name] + turn * 3) % len(MARKERS)]
        found[label] = Look(COLOURS[places[name] % len(COLOURS)], marker, filled=label == name)
    return found


def dashes(depths: Iterable[int]) -> dict[int, Any]:
    """The line style of each depth, the deepest drawn solid."""
    ordered = sorted(set(depths), reverse=True)
    return {depth: DASHES[min(i, len(DASHES) - 1)] for i, depth in enumerate(ordered)}


def title(label: str) -> str:
    """A mixer's label with names as they are printed: `mamba(d_conv=0)` is "Mamba (d_conv=0)"."""
    return re.sub(
        r"(^|\+)([A-Za-z_][\w-]*)(\(?)",
        lambda part: f"{' + ' if part[1] else ''}{_title(part[2])}{' (' if part[3] else ''}",
        label,
    )


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; its format is the file's suffix.

    The same figure gives the same bytes: no date and no version goes into the file.

    Raises:
        UserError: for a suffix other than .pdf, .png and .svg, or a folder that cannot be written.
    """
    from matplotlib import rc_context

    from recollect.reports.files import replacing

    form = path.suffix.removeprefix(".")
    if form not in METADATA:
        raise UserError(f"{path}: figures are written as {', '.join(METADATA)}")
    with replacing(path) as temporary, rc_context(RC):
        figure.savefig(temporary, format=form, metadata=METADATA[form])


METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def _name(label: str) -> str:
    """The label without options and recipe."""
    return re.sub(r"\([^()]*\)| \[.*\]$", "", label)


def _title(name: str) -> str:
    return MIXERS[name].title if name in MIXERS else name
