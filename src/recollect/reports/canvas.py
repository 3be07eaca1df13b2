"""Matplotlib, isolated from the user's settings; all figures are drawn through this module.

Environment variables, a `matplotlibrc` and styles of the user have no effect. Labels are never read
as TeX or mathematics, so names are printed unchanged.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from recollect.errors import UserError

_BACKEND = os.environ.get("MPLBACKEND")
os.environ["MPLBACKEND"] = "agg"  # the user's backend may not be installed
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
        f"matplotlib cannot be loaded: {error}; check your matplotlibrc if you have one"
    ) from error
finally:
    del os.environ["MPLBACKEND"]
    if _BACKEND is not None:
        os.environ["MPLBACKEND"] = _BACKEND
if _BACKEND:
    with suppress(ValueError):  # for the user's own figures
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
    "pdf.fonttype": 42,  # embedded TrueType fonts, which publishers require
    "svg.fonttype": "none",
    "svg.hashsalt": "recollect",  # element ids that do not change from run to run
    "text.parse_math": False,  # print a $ in a name as a $
}
"""Settings that differ from matplotlib's defaults."""

SHOWN_DPI = 110
"""Pixels per inch of a figure in a notebook."""


@contextmanager
def drawing(changes: Mapping[Any, Any] | None = None) -> Iterator[None]:
    """Use matplotlib's defaults and `RC` while a figure is drawn or written.

    Args:
        changes: further settings, by matplotlib's names.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC | dict(changes or {}))
        yield


class Figure(_figure.Figure):
    """A figure that is written with the settings it was drawn with.

    A notebook shows it even if `pyplot` was never imported.
    """

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure, as matplotlib does."""
        with drawing():
            super().savefig(fname, **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The image for IPython, with twice the displayed resolution for high-density screens."""
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=2 * SHOWN_DPI)
        width, height = (round(SHOWN_DPI * inches) for inches in self.get_size_inches())
        return image.getvalue(), {"width": width, "height": height}
