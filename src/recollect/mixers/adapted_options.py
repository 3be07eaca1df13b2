"""The options of a mixer, whose class may be one of another library."""

from __future__ import annotations

import inspect
from collections.abc import Collection

from torch import nn

from recollect.errors import UserError, nearest, unknown
from recollect.identity import import_class
from recollect.mixers.adaptation import PLAIN, Adaptation
from recollect.mixers.constructor import (
    handed_on,
    mixer_options,
    parameters_of,
    required,
    takes_any,
)


def options_of(cls: type[nn.Module], how: Adaptation | None) -> dict[str, inspect.Parameter]:
    """Return the arguments of a mixer's constructor that are options, by name."""
    if how is None:
        return mixer_options(cls)
    taken = {how.config_argument, *how.given}
    return {name: p for name, p in parameters_of(cls).items() if name not in taken}


def refuse_options(
    cls: type[nn.Module],
    how: Adaptation | None,
    given: Collection[str],
    title: str,
    optional: Collection[str],
) -> None:
    """Refuse unknown and missing options of a mixer.

    Args:
        cls: the mixer's class.
        how: its adaptation; None: it is a mixer like those of this package.
        given: the names of the options.
        title: the name of the mixer in messages.
        optional: options that may be missing although they have no default.

    Raises:
        UserError: if an option is unknown or missing.
    """
    known = options_of(cls, how)
    if "rope" in given and "rope" not in known:
        raise UserError("rope is not an option of this mixer: set positions='rope' on the model")
    choices = {*known, *handed_on(cls), *_fields(how)}
    for name in given:
        is_free = takes_any(cls) and not nearest(name, choices)  # a near match is a typing error
        if name not in choices and not is_free and not _takes_any_field(how):
            raise unknown(f"option of {title}", name, choices)
    missing = sorted({*required(known)} - {*optional, *given})
    if missing:
        raise UserError(
            f"the mixer {title!r} needs the options {', '.join(missing)}: set them, for example"
            f" --set {missing[0]}=2, or map sizes of the model to them, for example"
            f" --adapt d_model={missing[0]} (in Python: rc.adapt)"
        )


def _takes_any_field(how: Adaptation | None) -> bool:
    return how is not None and how.config_argument is not None and how.config == PLAIN


def _fields(how: Adaptation | None) -> Collection[str]:
    """The fields of the constructor's config; none if it has no config class."""
    if how is None or how.config_argument is None or how.config == PLAIN:
        return ()
    return parameters_of(import_class(how.config))
