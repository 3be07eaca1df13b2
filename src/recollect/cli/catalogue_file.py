"""The catalogue's measurements, shipped with the package: read without importing PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recollect.errors import unknown

FILE = Path(__file__).with_name("catalogue.json")
D_MODEL = 64
"""The width of the shipped measurements."""


def mixer_entries(name: str | None) -> list[dict[str, Any]]:
    """The entry of one mixer or layer pattern, or the entries of all.

    Raises:
        UserError: for an unknown name.
    """
    return _entries("mixers", "mixer or layer pattern", name)


def task_entries(name: str | None) -> list[dict[str, Any]]:
    """The entry of one task, or the entries of all.

    Raises:
        UserError: for an unknown name.
    """
    return _entries("tasks", "task", name)


def _entries(part: str, kind: str, name: str | None) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))[part]
    by_name = {entry["name"]: entry for entry in entries}
    if name is None:
        return entries
    if name not in by_name:
        raise unknown(kind, name, by_name)
    return [by_name[name]]
