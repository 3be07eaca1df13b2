"""Infer from the signatures of a class how to build and call it as a mixer."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_type_hints

from torch import nn

from recollect.identity import import_class, reference
from recollect.mixers.adaptation import INPUT, PLAIN, POSITIONS, Adaptation, class_reference
from recollect.mixers.constructor import (
    CONTEXT,
    STARS,
    Parameters,
    handed_on,
    parameters_of,
    required,
)

NAMES: Mapping[str, tuple[str, ...]] = {
    "d_model": (
        *("d_model", "dim", "hidden_size", "embed_dim", "model_dim", "dim_model", "n_embd"),
        *("embedding_dim", "width", "d"),
    ),
    "max_len": ("max_len", "max_seq_len", "max_seqlen", "seq_len", "context_length"),
    "layer_idx": ("layer_idx", "layer_id"),
    "n_layers": ("n_layers", "num_hidden_layers", "num_layers", "n_layer", "depth"),
    "rope": ("rope",),
}
"""Common names of the parts of `CONTEXT` in other libraries."""
CONFIGS = ("config", "cfg", "conf", "configuration", "args")
"""Common names of an argument that takes a config."""
SIZES = ("d_model", "n_layers")
"""The parts of the context that configs have as fields."""
CALLS: Mapping[str, Any] = {
    **dict.fromkeys(("key", "value", "k", "v", "keys", "values", "context"), INPUT),
    **dict.fromkeys(("position_ids", "positions", "pos_ids"), POSITIONS),
    **dict.fromkeys(("attention_mask", "attn_mask", "mask", "key_padding_mask", "padding_mask")),
    **dict.fromkeys(("past_key_values", "past_key_value", "cache", "cache_params", "state")),
}
"""The values for required arguments of `forward`, by the name of the argument."""


def inferred(cls: type[nn.Module], options: Collection[str] = ()) -> Adaptation | None:
    """Infer the adaptation of a class; None if it is built and called like ours.

    Args:
        cls: the class.
        options: names of the options that the user sets.
    """
    found = read_off(cls, options)
    named = parameters_of(cls)
    as_ours = all(name == part and name in named for name, part in found.given.items())
    return None if as_ours and found.config_argument is None and not found.forward else found


def read_off(
    cls: type[nn.Module],
    options: Collection[str] = (),
    *,
    config: type | str | None = None,
    config_argument: str | None = None,
) -> Adaptation:
    """Infer how to build and call a class from its signatures.

    Args:
        cls: the class.
        options: names of the options that the user sets.
        config: the class of the constructor's config; None: inferred.
        config_argument: the argument that takes the config; None: inferred.

    Raises:
        UserError: if an argument of a constructor is positional-only.
    """
    parameters = parameters_of(cls)
    given = _given(parameters) | {n: n for n in handed_on(cls) if n in CONTEXT}
    argument, kind, fields = config_argument, config or PLAIN, {}
    if config is not None:
        argument = argument or next(filter(parameters.__contains__, CONFIGS), CONFIGS[0])
        fields = _fields(config)
    elif "d_model" not in given.values():
        argument, kind, fields = _config(cls, parameters)
    return Adaptation(
        given={n: part for n, part in {**given, **fields}.items() if n not in options},
        config_argument=argument,
        config=kind,
        forward=_forward(cls),
    )


def _given(parameters: Parameters) -> dict[str, str]:
    """The arguments of a constructor that receive a part of the context.

    A foreign name counts only for the width and for required arguments.
    """
    needed = required(parameters)
    found = {}
    for part, names in NAMES.items():
        for name in names:
            if name in parameters and (name == part or name in needed or part == "d_model"):
                found[name] = part
                break
    return found


def _config(cls: type, parameters: Parameters) -> tuple[str | None, str, dict[str, str]]:
    """The argument that takes a config, the config's class, and its fields that receive context."""
    hints = _hints(cls)
    for name in required(parameters):
        hint = hints.get(name)
        if isinstance(hint, type) and hint.__module__ != "builtins" and not _is_value(hint):
            fields = _fields(hint)
            if "d_model" in fields.values():
                return name, reference(hint), fields
        elif name in CONFIGS:
            return name, PLAIN, _fields(PLAIN)
    return None, PLAIN, {}


def _fields(config: type | str) -> dict[str, str]:
    """The fields of a config that receive a part of the context; a plain config gets all names."""
    if config == PLAIN:
        return {each: part for part in SIZES for each in NAMES[part]}
    return _sizes(parameters_of(import_class(class_reference(config))))


def _sizes(fields: Iterable[str]) -> dict[str, str]:
    """The fields that receive a size: for each of `SIZES` the first name found."""
    firsts = {part: next((n for n in NAMES[part] if n in fields), None) for part in SIZES}
    return {name: part for part, name in firsts.items() if name is not None}


def _is_value(hint: type) -> bool:
    return issubclass(hint, nn.Module | str | int | float)


def _hints(cls: type) -> Mapping[str, Any]:
    try:
        return get_type_hints(vars(cls)["__init__"])
    except Exception:  # an annotation that cannot be evaluated raises errors of many types
        return {}


def _forward(cls: type[nn.Module]) -> dict[str, Any]:
    """The values for arguments of `forward` that are required and have a known name."""
    parameters = list(inspect.signature(cls.forward).parameters.items())[2:]
    needed = [name for name, p in parameters if p.default is p.empty and p.kind not in STARS]
    return {name: CALLS[name] for name in needed if name in CALLS}
