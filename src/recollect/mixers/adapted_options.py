"""The options of a mixer whose class may be adapted."""

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
    """The arguments of a mixer's constructor that are its own options."""
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
    """Refuse options that a mixer does not have, and say which it needs.

    Args:
        cls: its class.
        how: it is adapted.
        given: the names of the options.
        title: the mixer in messages.
        optional: what need not be given although it has no default.

    Raises:
        UserError: for an option that is unknown or missing.
    """
    known = options_of(cls, how)
    if "rope" in given and "rope" not in known:
        raise UserError("rope is no option of a mixer: set positions='rope' on the model")
    choices = {*known, *handed_on(cls), *_fields(how)}
    for name in given:
        is_free = takes_any(cls) and not nearest(name, choices)  # one that is near is a slip
        if name not in choices and not is_free and not _takes_any_field(how):
            raise unknown(f"option of {title}", name, choices)
    missing = sorted({*required(known)} - {*optional, *given})
    if missing:
        raise UserError(
            f"the mixer {title!r} needs the options {', '.join(missing)}: give them, such as"
            f" --set {missing[0]}=2, or say what of the model they are, such as"
            f" --adapt d_model={missing[0]} (in Python: rc.adapt)"
        )


def _takes_any_field(how: Adaptation | None) -> bool:
    return how is not None and how.config_argument is not None and how.config == PLAIN


def _fields(how: Adaptation | None) -> Collection[str]:
    """What the config that the constructor takes has, where it is of a class."""
    if how is None or how.config_argument is None or how.config == PLAIN:
        return ()
    return parameters_of(import_class(how.config))
