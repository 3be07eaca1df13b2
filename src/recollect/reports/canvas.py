"""Matplotlib without the settings of whoever runs this: all figures are drawn through here.

An environment variable, a `matplotlibrc` or a style of the user's changes none of them, and no
label is read as TeX or mathematics: a name is printed as it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from recollect.errors import UserError

_BACKEND = os.environ.get("MPLBACKEND")
os.environ["MPLBACKEND"] = "agg"  # the user's may be one that does not exist here
try:
    import matplotlib
    from matplotlib import figure as _figure
    from matplotlib.axes import Axes
    from matplotlib.colors import PowerNorm, to_hex, to_rgb
    from matplotlib.lines import Line2D
    from matplotlib.ticker import (
        EngFormatter,
        FixedLocator,
        LogLocator,
        MaxNLocator,
        NullFormatter,
        NullLocator,
    )
except Exception as error:
    raise UserError(
        f"matplotlib cannot be loaded: {error}; if it reads a matplotlibrc, see to that file"
    ) from error
finally:
    del os.environ["MPLBACKEND"]
    if _BACKEND is not None:
        os.environ["MPLBACKEND"] = _BACKEND
if _BACKEND:
    with suppress(ValueError):  # for figures of the user's own
        matplotlib.rcParams["backend"] = _BACKEND

__all__ = [
    "Axes",
    "EngFormatter",
    "Figure",
    "FixedLocator",
    "Line2D",
    "LogLocator",
    "MaxNLocator",
    "NullFormatter",
    "NullLocator",
    "PowerNorm",
    "drawing",
    "to_hex",
    "to_rgb",
]

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
    "text.parse_math": False,  # a $ in a name is a $
}
"""What differs from matplotlib's own settings."""

SHOWN_DPI = 110
"""Points of a notebook for an inch of a figure."""


@contextmanager
def drawing(changes: Mapping[Any, Any] | None = None) -> Iterator[None]:
    """Matplotlib's own settings with those of `RC`, while a figure is made or written.

    Args:
        changes: further settings, by matplotlib's names.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC | dict(changes or {}))
        yield


class Figure(_figure.Figure):
    """A figure that is written with the settings that it was made with, and shown in a notebook
    whether or not `pyplot` was ever imported there."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """As matplotlib's own."""
        with drawing():
            super().savefig(fname, **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """For IPython: twice as many points as it is shown with, which screens of today have."""
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=2 * SHOWN_DPI)
        width, height = (round(SHOWN_DPI * inches) for inches in self.get_size_inches())
        return image.getvalue(), {"width": width, "height": height}
