"""A catalogue whose entries register themselves when their modules are imported."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, TypeVar

from recollect.errors import unknown

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """A mapping from names to entries.

    Args:
        kind: the word for an entry in messages ("mixer").
        places: modules that register entries, and packages of such modules; they are imported at
            the first look-up.
    """

    def __init__(self, kind: str, *places: str) -> None:
        self.kind = kind
        self._places = places
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def add(self, name: str, entry: Entry) -> None:
        """Register `entry`. A name can be registered only once, except by a class that is defined
        again, as when the cell of a notebook is run again."""
        if name in self._entries and not _is_again(self._entries[name], entry):
            raise ValueError(f"the {self.kind} {name!r} is already registered")
        self._entries[name] = entry

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._entries)

    def __getitem__(self, name: str) -> Entry:
        self._load()
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True  # before the imports: they may look names up themselves
            for place in self._places:
                found = importlib.import_module(place)
                for module in pkgutil.iter_modules(getattr(found, "__path__", ())):
                    importlib.import_module(f"{place}.{module.name}")


def _is_again(before: object, now: object) -> bool:
    """Return True if two entries are the same class at the top level of a module, or have it as
    `cls`."""
    one, other = (getattr(entry, "cls", entry) for entry in (before, now))
    if not isinstance(one, type) or not isinstance(other, type) or "." in one.__qualname__:
        return False
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
