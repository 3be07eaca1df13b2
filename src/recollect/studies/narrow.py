"""Changes that the command line makes to a study: selecting parts and setting values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from recollect.config import Config
from recollect.errors import UserError, unknown
from recollect.studies.cell import Cell
from recollect.studies.rate_range import TWO_SEARCHES
from recollect.studies.study import Study

C = TypeVar("C")
S = TypeVar("S")

PYTHON = {
    "None": None,
    "True": True,
    "False": False,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
}
"""Values in Python's spelling, for which JSON has another name or none."""

WHICH_SEARCH = (
    f"{TWO_SEARCHES} in the study's function, search=rc.LearningRateSearch() or"
    " search=rc.BestRateSearch()"
)
NOT_SET_HERE = {
    "learning_rate": "the search chooses it; set the search's range or rates (search.*)",
    "window": WHICH_SEARCH,
    "kind": WHICH_SEARCH,
    "seeds": "`recollect run --seeds N` takes the first N of the study; other seeds are named in"
    " its function, seeds=[1, 2, 3]",
}
"""Hints for keys that cannot be set."""


def narrow(
    study: Study,
    *,
    mixers: Sequence[str] = (),
    tasks: Sequence[str] = (),
    widths: Sequence[int] = (),
    depths: Sequence[int] = (),
    seeds: int | None = None,
) -> Study:
    """Select a part of a study; arguments that are not given select all.

    Args:
        study: the whole.
        mixers: labels, or names; a name that is not a label selects all its variants.
        tasks: labels, or parts of them between dashes: `64x4` for `mqar-64x4`.
        widths: values of d_model.
        depths: values of n_layers.
        seeds: number of seeds, from the first.

    Raises:
        UserError: for a part that the study does not have; the message lists those it has.
    """
    known_mixers = list(dict.fromkeys(model.label for model in study.models))
    chosen_mixers = _select("mixer", mixers, known_mixers, _is_variant)
    models = [model for model in study.models if model.label in chosen_mixers]
    for kind, given, field in (("width", widths, "d_model"), ("depth", depths, "n_layers")):
        sizes = sorted({getattr(model, field) for model in study.models})
        chosen = _select(kind, list(map(str, given)), list(map(str, sizes)))
        models = [model for model in models if str(getattr(model, field)) in chosen]
    if not models:
        raise UserError(
            f"{study.name} has no model with mixer in {list(mixers)}, width in {list(widths)} and"
            f" depth in {list(depths)} at once"
        )
    labels = _select("task", tasks, [task.label for task in study.tasks], _has_parts)
    if seeds is not None and not 1 <= seeds <= len(study.seeds):
        raise UserError(
            f"seeds={seeds}: expected 1 to {len(study.seeds)}, the number of seeds of {study.name}"
        )
    overrides = study.train_overrides
    return study.replace(
        models=models,
        tasks=[task for task in study.tasks if task.label in labels],
        train_overrides={label: overrides[label] for label in overrides if label in labels},
        seeds=study.seeds[:seeds],
    )


def override(study: Study, settings: Iterable[str]) -> Study:
    """Set single values of a study.

    Args:
        study: the whole.
        settings: texts `key=value`. A key is dotted (`train.steps`, `search.refine`, `model.mlp`,
            `model.init.std`, `task.power`), or its last part if that is unambiguous. Keys of model
            and task are set on every model or task that has them; further test tasks keep theirs. A
            value is JSON, otherwise text.

    Values that fit only together may come in any order; of several values of a key the last counts.

    Raises:
        UserError: for an unknown or ambiguous key (with similar ones), and for an invalid value.
    """
    by_key = {_full_key(study, key): value for key, value in map(parse_setting, settings)}
    return in_any_order(study, by_key.items(), lambda study, item: _set(study, *item))


def in_any_order(config: C, settings: Iterable[S], apply: Callable[[C, S], C]) -> C:
    """Apply settings that may fit only together: those that are refused are tried again after the
    others.

    Raises:
        UserError: if some are still refused; that of the first.
    """
    waiting = [*settings]
    while waiting:
        refused: list[tuple[S, UserError]] = []
        for setting in waiting:
            try:
                config = apply(config, setting)
            except UserError as error:
                refused.append((setting, error))
        if len(refused) == len(waiting):
            raise refused[0][1]
        waiting = [setting for setting, _ in refused]
    return config


def whole_cells(study: Study, part: Study, settings: Sequence[str]) -> tuple[Cell, ...]:
    """All cells of the study from which a part was selected, with the same values set.

    Args:
        study: the whole study, before values were set.
        part: the part, with the values set.
        settings: as in `override`.
    """
    try:
        return override(study, settings).cells()
    except UserError:  # values that fit only the part make it a study of its own
        return part.cells()


def parse_setting(setting: str) -> tuple[str, Any]:
    """Key and value of `key=value`; a value is JSON, otherwise text.

    Raises:
        UserError: if there is no equals sign.
    """
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"{setting!r}: expected key=value, such as train.steps=500")
    return key.strip(), _value(text.strip())


def _select(
    kind: str, wanted: Sequence[str], labels: Sequence[str], matches: Any = None
) -> set[str]:
    """Selected labels; all if nothing is wanted."""
    chosen: set[str] = set()
    for name in wanted:
        found = [label for label in labels if label == name]
        if not found and matches is not None:
            found = [label for label in labels if matches(name, label)]
        if not found:
            raise unknown(kind, name, labels)
        chosen.update(found)
    return chosen if wanted else set(labels)


def _is_variant(name: str, label: str) -> bool:
    return label.startswith(f"{name}(")


def _has_parts(name: str, label: str) -> bool:
    return set(name.split("-")) <= set(label.split("-"))


def _groups(study: Study) -> dict[str, tuple[Config, ...]]:
    """Configs whose values can be set, by the first part of the key."""
    return {
        "train": (study.train,),
        "search": (study.search, *(way.search for way in study.variants if way.search)),
        "model": study.models,
        "task": study.tasks,
    }


def _keys(config: Config) -> Iterator[str]:
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Config):
            yield from (f"{name}.{key}" for key in _keys(value))
        else:
            yield name


def _full_key(study: Study, key: str) -> str:
    group, _, name = key.rpartition(".")
    if name in NOT_SET_HERE and group in ("", "train", "search", "study"):
        raise UserError(f"{key}: {NOT_SET_HERE[name]}")
    keys = {
        f"{group}.{name}"
        for group, configs in _groups(study).items()
        for config in configs
        for name in _keys(config)
    } - {"train.learning_rate", "search.kind"}
    found = [full for full in sorted(keys) if full == key or full.endswith(f".{key}")]
    if len(found) > 1 and key not in found:
        raise UserError(f"the key {key!r} is ambiguous: {' or '.join(found)}")
    if not found:
        raise unknown("key", key, keys)
    return key if key in found else found[0]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return PYTHON.get(text, text)


def _set(study: Study, key: str, value: Any) -> Study:
    group, _, name = key.partition(".")
    if group == "train":
        return _set_training(study, name, value)
    if group == "search":
        return _set_search(study, name, value)
    changed = tuple(_with(config, name, value) for config in _groups(study)[group])
    if group == "model":
        return study.replace(models=changed)
    labels = {old.label: new.label for old, new in zip(study.tasks, changed, strict=True)}
    overrides = {labels[old]: fields for old, fields in study.train_overrides.items()}
    return study.replace(tasks=changed, train_overrides=overrides)


def _set_training(study: Study, name: str, value: Any) -> Study:
    """Set a training value for every task and variant."""
    overrides = {label: _without(fields, name) for label, fields in study.train_overrides.items()}
    variants = [way.replace(train=_without(way.train, name)) for way in study.variants]
    if any(way in variants[:i] for i, way in enumerate(variants)):
        raise UserError(
            f"train.{name}: {study.name} compares variants of this setting, so it cannot be set"
        )
    return study.replace(
        train=_with(study.train, name, value),
        train_overrides=overrides,
        variants=variants,
    )


def _set_search(study: Study, name: str, value: Any) -> Study:
    """Set a value in every search that has it."""
    variants = [
        way.replace(search=_with(way.search, name, value)) if way.search else way
        for way in study.variants
    ]
    return study.replace(search=_with(study.search, name, value), variants=variants)


def _without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in fields.items() if field != name}


def _with(config: Config, name: str, value: Any) -> Any:
    """A config with a value set, or unchanged if it has no such field."""
    has = name.partition(".")[0] in type(config).model_fields
    return config.replace_at(name, value) if has else config
