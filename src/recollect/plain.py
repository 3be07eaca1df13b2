"""Plain values, as in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON cannot represent, by None, and tuples by lists."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values in nested dicts and lists, each with its dotted name.

    A list of plain values counts as one value.
    """
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        inner = dict(enumerate(value)).items()
    else:
        yield name, value
        return
    for key, item in inner:
        yield from leaves(item, f"{name}.{key}" if name else str(key))
