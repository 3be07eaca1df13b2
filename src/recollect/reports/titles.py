"""Mixers and layer patterns by the names they have in print."""

from __future__ import annotations

import re

from recollect.mixers.catalogue import MIXERS
from recollect.mixers.patterns import PATTERNS


def title(label: str) -> str:
    """A mixer's label with names as they are printed: `mamba(d_conv=0)` is "Mamba (d_conv=0)"."""
    return re.sub(
        r"(^|\+)([A-Za-z_][\w-]*)(\(?)",
        lambda part: f"{' + ' if part[1] else ''}{_title(part[2])}{' (' if part[3] else ''}",
        label,
    )


def _title(name: str) -> str:
    return next((shipped[name].title for shipped in (MIXERS, PATTERNS) if name in shipped), name)
