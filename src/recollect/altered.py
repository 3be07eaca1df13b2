"""Check that the constants of a user's modules have the values in their source code.

A trial's key contains a digest of the source of a user's class. A constant that was set at run time
would change results while the key stays the same. Constants that the source itself changes are not
checked, because their values cannot be read from the source.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from recollect.constants import Imported
from recollect.errors import UserError
from recollect.modules import in_use
from recollect.sources import Source, Sources, origin_of

MERGED = {"model_config"}
"""Attributes that pydantic merges with those of the base classes."""
_MISSING = object()

Found = tuple[str, Any, Any]
"""A dotted name, its value, and its value in the source."""
Stated = Mapping[type, Mapping[str, Any]]
"""The constants of each class, as the source states them."""


def refuse_altered(sources: Sources) -> None:
    """Check that the constants of loaded modules have the values in their source code.

    Raises:
        UserError: if a constant was changed from outside.
    """
    left_alone = {name for source in sources.files.values() for name in source.changes} | MERGED
    loaded = [(s, m) for s in sources.files.values() if (m := in_use(s.module)) is not None]
    of_classes: dict[type, dict[str, Any]] = {}
    for source, module in loaded:
        for name, expected in _stated(source, sources).items():
            owner, _, last = name.rpartition(".")
            cls = _class(module, owner)
            if cls is not None:
                of_classes.setdefault(cls, {})[last] = expected
    for source, module in loaded:
        found = (*_altered(module, _stated(source, sources)), *_added(module, source, of_classes))
        for name, value, expected in found:
            if name.rpartition(".")[2] not in left_alone:
                raise UserError(
                    f"{source.module.title}.{name} is {reprlib.repr(value)}, but its source says"
                    f" {reprlib.repr(expected)}, but a trial's key contains only the source: make"
                    " it an option of the constructor"
                )


def _stated(source: Source, sources: Sources) -> dict[str, Any]:
    """The constants of a module, including those imported from another module of `sources`."""
    stated = dict(source.constants)
    for name, value in source.constants.items():
        if isinstance(value, Imported):
            origin = sources.of(origin_of(value.statement, source.module.package))
            stated[name] = value if origin is None else origin.constants.get(value.name, value)
    return {name: value for name, value in stated.items() if not isinstance(value, Imported)}


def _altered(module: ModuleType, stated: Mapping[str, Any]) -> Iterator[Found]:
    """Yield the constants whose values differ from the source."""
    for name, expected in stated.items():
        owner, _, last = name.rpartition(".")
        place = _class(module, owner) if owner else module
        value = _MISSING if place is None else _value(place, last)
        if value is not _MISSING and not _same(value, expected):
            yield name, value, expected


def _added(module: ModuleType, source: Source, stated: Stated) -> Iterator[Found]:
    """Yield the inherited constants that were overwritten on a class outside its body."""
    for name, bound in source.classes.items():
        cls = _class(module, name)
        if cls is None:
            continue
        inherited = [item for base in cls.__mro__[1:] for item in stated.get(base, {}).items()]
        for last, expected in inherited:
            value = _value(cls, last)
            is_own = last in bound or last.startswith("__")
            if not is_own and value is not _MISSING and not _same(value, expected):
                yield f"{name}.{last}", value, expected


def _class(module: ModuleType, name: str) -> type | None:
    """The class with this dotted name, if the module defines it; else None."""
    owner: Any = module
    for part in name.split("."):
        owner = vars(owner).get(part)
        if not isinstance(owner, type) or owner.__module__ != module.__name__:
            return None
    return owner


def _value(owner: ModuleType | type, name: str) -> Any:
    """The value of a name in a module or class.

    `_MISSING` if there is none, or if the class turned it into a descriptor or an enum member.
    """
    value = vars(owner).get(name, _MISSING)
    if isinstance(owner, type) and (inspect.isdatadescriptor(value) or isinstance(value, owner)):
        return _MISSING
    return value


def _same(value: Any, expected: Any) -> bool:
    """Return True if two plain values are equal in value and type."""
    if type(value) is not type(expected):
        return False
    if isinstance(expected, dict):
        return value.keys() == expected.keys() and all(
            _same(value[key], expected[key]) for key in expected
        )
    if isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(map(_same, value, expected))
    return bool(value == expected)
