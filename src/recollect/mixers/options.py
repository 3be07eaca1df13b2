"""The options of a mixer: what can be one, and how it is stored.

Options are part of a trial's key and are stored as JSON, so an option is a value that JSON holds
exactly. JSON has no infinity; an infinite option is stored as `{"float": "inf"}`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from recollect.config import canonical_json
from recollect.errors import UserError

STORED_INFINITE = ({"float": "inf"}, {"float": "-inf"})
PLAIN = (type(None), bool, int, float, str)


def as_option(name: str, value: Any) -> Any:
    """An option as the mixer gets it: the value itself, a list for a tuple, a plain number for one
    of numpy, and infinity for its stored form.

    Raises:
        UserError: for a value that JSON cannot hold exactly, such as NaN, a function or a type.
    """
    if isinstance(value, list | tuple):
        return [as_option(name, item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict) and value in STORED_INFINITE:
        return float(value["float"])
    # subclasses, such as an enum's members, would come back from the store as something else
    if type(value) in PLAIN and value == value:
        return value
    raise UserError(
        f"the option {name}={value!r} of a mixer cannot be stored: expected None, a bool, a number"
        " other than NaN, a text or a list of these; for anything else, write a subclass whose"
        " constructor sets it"
    )


def as_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Each as the mixer gets it; errors as in `as_option`."""
    return {name: as_option(name, value) for name, value in values.items()}


def as_stored(value: Any) -> Any:
    """An option as JSON has it; `as_option` reads it back."""
    if isinstance(value, list):
        return [as_stored(item) for item in value]
    is_infinite = isinstance(value, float) and math.isinf(value)
    return {"float": str(value)} if is_infinite else value


def default_options(parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """The defaults of a constructor's arguments, without those that cannot be stored: these are
    always what the class says, and the class is part of a trial's key itself."""
    defaults = {}
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty:
            try:
                defaults[name] = as_option(name, parameter.default)
            except UserError:
                continue
    return defaults


def changed(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from their defaults as they are stored: 1 is neither True nor 1.0."""
    return {
        name: value
        for name, value in options.items()
        if name not in defaults
        or canonical_json(as_stored(value)) != canonical_json(as_stored(defaults[name]))
    }
