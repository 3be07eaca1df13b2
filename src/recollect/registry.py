"""A catalogue whose entries register themselves when their modules are imported."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from recollect.errors import UserError, unknown
from recollect.own_files import file_of

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
        """Register `entry`. A name can be registered only once, except by a class or function that
        is defined again, as when the cell of a notebook is run again."""
        if _package(entry) != __package__:
            self._load()  # or the name would be taken from the entry of this package
        if name in self._entries and not _is_again(self._entries[name], entry):
            raise ValueError(f"the {self.kind} {name!r} is already registered")
        self._entries[name] = entry

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._entries)

    def __getitem__(self, name: str) -> Entry:
        self._load()
        if not isinstance(name, str):
            example = next(iter(self), "")
            a = "an" if self.kind[0] in "aeiou" else "a"
            raise UserError(f"{name!r}: expected the name of {a} {self.kind}, such as {example!r}")
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # before the imports: they may look names up themselves
        try:
            for place in self._places:
                found = importlib.import_module(place)
                for module in pkgutil.iter_modules(getattr(found, "__path__", ())):
                    importlib.import_module(f"{place}.{module.name}")
        except BaseException:
            self._loaded = False
            raise


def _is_again(before: object, now: object) -> bool:
    """Return True if two entries are the same class or function at the top level of a file, or have
    it as `cls`.

    Another module of the same file is the same: a file that is imported by its name and given by
    its path runs twice.
    """
    one, other = map(_definition, (before, now))
    name = getattr(one, "__qualname__", "")
    return (
        type(one) is type(other)
        and name.isidentifier()
        and name == getattr(other, "__qualname__", "")
        and _home(one) == _home(other)
    )


def _definition(entry: object) -> object:
    return getattr(entry, "cls", entry)


def _package(entry: object) -> str:
    return str(getattr(_definition(entry), "__module__", "")).partition(".")[0]


def _home(definition: Any) -> Path | str:
    """The file of the module that defines it, or the module's name if it has none."""
    module = sys.modules.get(definition.__module__)
    file = None if module is None else file_of(module)
    return file or str(definition.__module__)
