"""From what is typed to a study or a mixer: a shipped name, or the user's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recollect.cli.output import names
from recollect.errors import UserError, unknown
from recollect.identity import is_file_name, load

if TYPE_CHECKING:
    from torch import nn

    from recollect.studies.study import Study

DEFAULT_SCALE = "laptop"


def find_study(name: str, scale: str | None) -> Study:
    """The study that is meant.

    Args:
        name: of a shipped study, or `package.module:function`, or `file.py:function`. The current
            folder is put on the import path for a module, that of the file for a file, so that
            worker processes find the user's classes too.
        scale: passed to the function, if it has a parameter of that name; None: "laptop".

    Raises:
        UserError: if there is no such study, or the function returns something else.
    """
    from recollect.studies.shipped import STUDIES

    if ":" in name:
        return _call(_find(name, "function", inspect.isfunction), name, scale)
    if name not in STUDIES and name.endswith(".py"):
        raise UserError(f"{name}: which function? expected {name}:function")
    return STUDIES[name](scale or DEFAULT_SCALE)


def find_mixer(name: str) -> str | type[nn.Module]:
    """The mixer that is meant.

    Args:
        name: of the catalogue, or `package.module:Class`, or `file.py:Class`.

    Raises:
        UserError: if there is no such class; an unknown name is left to who looks it up.
    """
    if ":" in name:
        return _find(name, "class", inspect.isclass)
    if name.endswith(".py"):
        raise UserError(f"{name}: which class? expected {name}:Class")
    return name


def parse_mixer(text: str) -> Any:
    """A mixer from `name`, `name(option=value,...)`, or a file of one's own.

    Raises:
        UserError: where a bracket has no other, or something stands behind the last.
    """
    from recollect.mixers.catalogue import mixer
    from recollect.studies.narrow import parse_setting

    name, opening, rest = text.partition("(")
    if text.count("(") != text.count(")") or (opening and not rest.endswith(")")):
        raise UserError(f"{text}: expected a name, or name(option=value,...) with both brackets")
    found = find_mixer(name)
    if not opening:
        return found
    return mixer(found, **dict(parse_setting(option) for option in names(rest[:-1])))


def import_from_here() -> None:
    """Have the current folder on the import path, for models with mixers of the user's own; behind
    all else, so that nothing in it takes the place of what is installed."""
    sys.path.append(str(Path().resolve()))


def _call(function: Any, name: str, scale: str | None) -> Study:
    from recollect.studies.study import Study

    takes_scale = "scale" in inspect.signature(function).parameters
    if scale and not takes_scale:
        raise UserError(f"--scale {scale}: {name} has no parameter scale; leave it out")
    study = function(scale=scale or DEFAULT_SCALE) if takes_scale else function()
    if not isinstance(study, Study):
        raise UserError(f"{name} returned {type(study).__name__}, expected a Study")
    return study


def _find(name: str, kind: str, is_one: Callable[[object], bool]) -> Any:
    """What a module or file of the user's has by this name."""
    place, _, attribute = name.rpartition(":")
    if not is_file_name(place):
        sys.path.insert(0, str(Path().resolve()))
    missing = f"cannot find {place!r}: expected package.module:{kind} or file.py:{kind}"
    if is_file_name(place) and not Path(place).is_file():
        raise UserError(missing)
    try:
        module = load(place)
    except ModuleNotFoundError as error:
        if is_file_name(place) or not f"{place}.".startswith(f"{error.name}."):
            raise  # an import within the user's code, whose traceback says where
        raise UserError(missing) from None
    found = getattr(module, attribute, None)
    if not callable(found):
        members = dict(inspect.getmembers(module, is_one))
        own = [key for key, value in members.items() if value.__module__ == module.__name__]
        raise unknown(f"{kind} in {place}", attribute, own or members)
    return found
