"""The options of a mixer: their types and their stored form.

Options are part of a trial's key and are stored as JSON, so JSON must hold an option exactly. JSON
has no infinity; an infinite option is stored as `{"float": "inf"}`.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from recollect.config import canonical_json
from recollect.errors import UserError

STORED_INFINITE = ({"float": "inf"}, {"float": "-inf"})
PLAIN = (type(None), bool, int, float, str)


def as_option(name: str, value: Any) -> Any:
    """Convert an option to the form that the mixer receives.

    Tuples become lists, numpy numbers become plain ones, and the stored form of infinity becomes
    infinity. Other values stay as they are.

    Raises:
        UserError: if JSON cannot hold the value exactly, such as NaN, a function or a type.
    """
    if isinstance(value, list | tuple):
        return [as_option(name, item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict) and value in STORED_INFINITE:
        return float(value["float"])
    # a subclass, such as an enum's member, would have another type when read from the store
    if type(value) in PLAIN and value == value:
        return value
    raise UserError(
        f"the option {name}={value!r} of a mixer cannot be stored: expected None, a bool, a number"
        " other than NaN, a string or a list of these; for anything else, write a subclass whose"
        " constructor sets it"
    )


def as_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert all options with `as_option`."""
    return {name: as_option(name, value) for name, value in values.items()}


def in_whole_numbers(
    options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, Any]:
    """Convert floats such as 2.0, as division gives them, for options that are whole numbers.

    Layers fail with them, and their key would differ from that of the whole number.

    Args:
        options: options of a mixer of this package.
        parameters: the arguments of its constructor, whose types are written out.
    """

    def is_whole(name: str) -> bool:
        types = re.findall(r"\w+", str(parameters[name].annotation)) if name in parameters else []
        return "int" in types and "float" not in types

    return {
        name: int(value)
        if isinstance(value, float) and value.is_integer() and is_whole(name)
        else value
        for name, value in options.items()
    }


def as_stored(value: Any) -> Any:
    """Convert an option to its stored form, the inverse of `as_option`."""
    if isinstance(value, list):
        return [as_stored(item) for item in value]
    is_infinite = isinstance(value, float) and math.isinf(value)
    return {"float": str(value)} if is_infinite else value


def default_options(parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the defaults of a constructor's arguments that can be stored.

    The others need not be: they are fixed by the class, which is itself part of a trial's key.
    """
    defaults = {}
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty:
            try:
                defaults[name] = as_option(name, parameter.default)
            except UserError:
                continue
    return defaults


def changed(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options whose stored form differs from the default's: 1 is not True or 1.0."""
    return {
        name: value
        for name, value in options.items()
        if name not in defaults
        or canonical_json(as_stored(value)) != canonical_json(as_stored(defaults[name]))
    }
