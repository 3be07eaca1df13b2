"""From what is typed to a study: a shipped name, or the user's own function."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recollect.errors import UserError, unknown

if TYPE_CHECKING:
    from recollect.studies.study import Study

SCALES = ("laptop", "paper")


def find_study(name: str, scale: str | None) -> Study:
    """The study that is meant.

    Args:
        name: of a shipped study, or `package.module:function`, or `file.py:function`. The folder of
            the file, or the current one, is put on the import path, so that worker processes find
            the user's classes too.
        scale: "laptop" (the default of shipped studies) or "paper".

    Raises:
        UserError: if there is no such study, or the function returns something else.
    """
    from recollect.studies.study import STUDIES

    if scale is not None and scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    if ":" in name:
        return _call(_find_function(name), name, scale)
    if name not in STUDIES and name.endswith(".py"):
        raise UserError(f"{name}: which function? expected {name}:function")
    return STUDIES[name](scale or SCALES[0])


def _call(function: Any, name: str, scale: str | None) -> Study:
    from recollect.studies.study import Study

    takes_scale = bool(inspect.signature(function).parameters)
    if scale and not takes_scale:
        raise UserError(f"--scale {scale}: {name} takes no scale; leave it out")
    study = function(scale or SCALES[0]) if takes_scale else function()
    if not isinstance(study, Study):
        raise UserError(f"{name} returned {type(study).__name__}, expected a Study")
    return study


def _find_function(name: str) -> Any:
    place, _, function = name.rpartition(":")
    file = Path(place)
    folder, module_name = (file.parent, file.stem) if file.suffix == ".py" else (Path(), place)
    sys.path.insert(0, str(folder.resolve()))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise  # an import within the user's code, whose traceback says where
        raise UserError(
            f"cannot find {place!r}: expected package.module:function or file.py:function"
        ) from None
    found = getattr(module, function, None)
    if not callable(found):
        named = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise unknown(f"function in {place}", function, named)
    return found
