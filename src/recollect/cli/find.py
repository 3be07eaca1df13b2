"""Find the study or mixer named on the command line: a shipped one or the user's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recollect.cli.output import names
from recollect.errors import UserError, unknown
from recollect.identity import is_file_name, load
from recollect.papers.scale import DEFAULT_SCALE

if TYPE_CHECKING:
    from torch import nn

    from recollect.studies.study import Study

_GIVEN = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
"""Kinds of parameters that need a value."""


def find_study(name: str, scale: str | None) -> Study:
    """Find a study by name.

    Args:
        name: a shipped study, `package.module:function`, or `file.py:function`. For a module the
            current folder is added to the import path, for a file its folder, so that worker
            processes find the user's classes too.
        scale: passed to the function if it has a parameter of that name; None: "laptop".

    Raises:
        UserError: if the study does not exist, or the function returns something else.
    """
    from recollect.studies.shipped import STUDIES

    if ":" in name:
        return _call(_find(name, "function", inspect.isfunction), name, scale)
    if name not in STUDIES and name.endswith(".py"):
        raise UserError(f"{name}: which function? expected {name}:function")
    return STUDIES[name](scale or DEFAULT_SCALE)


def find_mixer(name: str) -> str | type[nn.Module]:
    """Find a mixer by name; names of the catalogue are returned unchecked.

    Args:
        name: a name of the catalogue, `package.module:Class`, `file.py:Class`, or a mixer of
            another library, such as `hf:mamba2`.

    Raises:
        UserError: if the class does not exist.
    """
    from recollect.mixers.ready import is_ready

    if is_ready(name):
        return name
    if ":" in name:
        return _find(name, "class", inspect.isclass)
    if name.endswith(".py"):
        raise UserError(f"{name}: which class? expected {name}:Class")
    return name


def parse_mixer(text: str, adapt: Sequence[str] = (), options: Sequence[str] = ()) -> Any:
    """Parse a mixer: `name`, `name(option=value,...)`, or a class of the user's.

    Args:
        text: the text from the command line.
        adapt: how a user's class is built and called, each `KEY=VALUE` (see `rc.adapt`).
        options: further options, each `NAME=VALUE`.

    Raises:
        UserError: if brackets do not match, or text follows the last one.
    """
    name, opening, rest = text.partition("(")
    if text.count("(") != text.count(")") or (opening and not rest.endswith(")")):
        raise UserError(f"{text}: expected a name, or name(option=value,...) with both brackets")
    return _with_options(find_mixer(name), [*names(rest[:-1]), *options], adapt)


def _with_options(
    found: str | type[nn.Module], options: Sequence[str], adapt: Sequence[str]
) -> Any:
    """Give a mixer options (`NAME=VALUE`) and adaptations (`KEY=VALUE`, see `rc.adapt`).

    Raises:
        UserError: for a key unknown to `rc.adapt`, or if a mixer of the catalogue is adapted.
    """
    from recollect.mixers.adapt import adapt as adapted
    from recollect.mixers.catalogue import mixer
    from recollect.mixers.patterns import PATTERNS
    from recollect.studies.narrow import parse_setting

    values = dict(parse_setting(option) for option in options)
    if isinstance(found, str) and found in PATTERNS and values:
        return _pattern_with(found, values)
    if not adapt:
        return mixer(found, **values) if values else found
    if isinstance(found, str):
        raise UserError(f"--adapt {adapt[0]} is only for classes of your own, not for {found}")
    return adapted(found, **values, **_adaptation(adapt))


def _pattern_with(name: str, values: dict[str, Any]) -> Any:
    """The layers of a pattern, with options of its mixers, as in `griffin(window=4)`."""
    from recollect.mixers.patterns import PATTERNS
    from recollect.mixers.patterns import with_options as layers_with

    layers = PATTERNS[name].layers
    for option in values:
        if not any(option in layer.options for layer in layers):
            known = {option for layer in layers for option in layer.options}
            raise unknown(f"option of {name}", option, known)
    return layers_with(layers, values)


def with_own_mixers(
    study: Study, mixers: Sequence[str], adapt: Sequence[str]
) -> tuple[Study, list[str]]:
    """Add mixers to a study that it lacks; also returns the labels of all named mixers.

    Args:
        study: the study.
        mixers: labels or names of the study's mixers, other mixers of the catalogue, classes of
            the user's, and mixers of other libraries.
        adapt: how the user's classes are built and called.

    Raises:
        UserError: as in `parse_mixer`, for a layer pattern that the study lacks, and if `adapt` is
            given without a class to adapt.
    """
    from recollect.mixers.catalogue import MIXERS, as_spec
    from recollect.mixers.patterns import PATTERNS
    from recollect.studies.joining import has_mixer, with_mixer

    known = {model.label for model in study.models}
    labels, any_own = [], False
    for text in mixers:
        name = text.partition("(")[0]
        if any(label == text or label.startswith(f"{text}(") for label in known):
            labels.append(text)
            continue
        if name in PATTERNS:
            raise UserError(
                f"{study.name} does not have {text}, and a layer pattern cannot be added here: name"
                " it in the function of a study"
            )
        if ":" not in name and name not in MIXERS:
            raise unknown("mixer", text, {*known, *MIXERS})
        is_own = isinstance(find_mixer(name), type)
        spec = as_spec(parse_mixer(text, adapt if is_own else ()))
        if not has_mixer(study, spec):
            study = with_mixer(study, spec)
        labels.append(spec.label)
        any_own = any_own or is_own
    if adapt and not any_own:
        raise UserError(f"--adapt {adapt[0]} needs a class to adapt: name it with --mixers")
    return study, labels


def _adaptation(texts: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments of `rc.adapt`; `forward.NAME=VALUE` and `step.NAME=VALUE` are grouped."""
    from recollect.studies.narrow import parse_setting

    given: dict[str, Any] = {}
    for text in texts:
        key, value = parse_setting(text)
        head, dot, rest = key.partition(".")
        if dot and head in ("forward", "step"):
            given.setdefault(head, {})[rest] = value
        else:
            given[key] = names(value) if isinstance(value, str) and "," in value else value
    return given


def import_from_here() -> None:
    """Add the current folder to the import path, for models with the user's mixers.

    It is added at the end, so that files in it do not hide installed packages.
    """
    sys.path.append(str(Path().resolve()))


def _call(function: Any, name: str, scale: str | None) -> Study:
    from recollect.studies.study import Study

    if not callable(function) or inspect.isclass(function):
        raise UserError(
            f"{name} is a {type(function).__name__}, expected a function that returns a Study"
        )
    parameters = inspect.signature(function).parameters
    lacking = [
        each.name
        for each in parameters.values()
        if each.default is each.empty and each.kind in _GIVEN and each.name != "scale"
    ]
    if lacking:
        raise UserError(
            f"{name} requires {', '.join(lacking)}: expected a function without arguments, or with"
            " `scale` alone"
        )
    takes_scale = "scale" in parameters
    if scale and not takes_scale:
        raise UserError(f"--scale {scale}: {name} has no parameter scale; leave it out")
    study = function(scale=scale or DEFAULT_SCALE) if takes_scale else function()
    if not isinstance(study, Study):
        raise UserError(f"{name} returned {type(study).__name__}, expected a Study")
    return study


def _find(name: str, kind: str, is_one: Callable[[object], bool]) -> Any:
    """Import a class or function from a user's module or file."""
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
            raise  # an import in the user's code failed: its traceback says where
        raise UserError(missing) from None
    found = getattr(module, attribute, None)
    if found is None:
        members = dict(inspect.getmembers(module, is_one))
        own = [key for key, value in members.items() if value.__module__ == module.__name__]
        raise unknown(f"{kind} in {place}", attribute, own or members)
    return found
