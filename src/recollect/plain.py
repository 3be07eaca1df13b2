"""Plain values, as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def finite(value: Any) -> Any:
    """The same with None for every number that JSON does not have, and lists for tuples."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values within nested dicts and lists, each by its dotted name; a list of plain values is
    one of them."""
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        inner = dict(enumerate(value)).items()
    else:
        yield name, value
        return
    for key, item in inner:
        yield from leaves(item, f"{name}.{key}" if name else str(key))
