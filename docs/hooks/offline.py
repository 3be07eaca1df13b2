"""The site loads nothing from the network: the build fails where a page would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from properdocs.exceptions import PluginError

LOADED = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\s\"'>]+)"
)


def on_post_build(config: Any, **_: Any) -> None:
    """Looks at every page.

    Raises:
        PluginError: if a page loads something from elsewhere.
    """
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        for address in LOADED.findall(page.read_text(encoding="utf-8")):
            raise PluginError(f"{page.name} loads {address}: put the file into docs/assets")
