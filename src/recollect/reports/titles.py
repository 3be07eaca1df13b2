"""Printed names of mixers and layer patterns."""

from __future__ import annotations

import re

from recollect.mixers.catalogue import MIXERS
from recollect.mixers.patterns import PATTERNS


def title(label: str) -> str:
    """The printed form of a mixer's label: `mamba(d_conv=0)` becomes "Mamba (d_conv=0)"."""
    return re.sub(
        r"(^|\+)([A-Za-z_][\w-]*)(\(?)",
        lambda part: f"{' + ' if part[1] else ''}{_title(part[2])}{' (' if part[3] else ''}",
        label,
    )


def _title(name: str) -> str:
    """The title of a name; a user's class with the title of a shipped mixer is told apart."""
    for shipped in (MIXERS, PATTERNS):
        if name in shipped:
            return shipped[name].title
    taken = {shipped[known].title for shipped in (MIXERS, PATTERNS) for known in shipped}
    return f"{name} (own)" if name in taken else name
