"""`rc.adapt`: use a class of another library as a mixer, without a wrapper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import nn

from recollect.errors import UserError
from recollect.identity import import_class, resolve
from recollect.mixers.adaptation import PART
from recollect.mixers.catalogue import MixerSpec, name_of
from recollect.mixers.constructor import CONTEXT
from recollect.mixers.inference import read_off

Function = Callable[..., Any] | str


def adapt(
    cls: type[nn.Module] | str,
    *,
    config: type | str | None = None,
    config_argument: str | None = None,
    forward: Mapping[str, Any] | Function | None = None,
    output: int = 0,
    layout: Literal["BLD", "LBD"] = "BLD",
    state: str | None = None,
    cache: str | None = None,
    cache_class: type | str | None = None,
    step: Mapping[str, Any] | Function | None = None,
    initial_state: Function | None = None,
    **options: Any,
) -> MixerSpec:
    """Use a class as a mixer that is built and called in its own way.

        rc.adapt(nn.GRU, d_model=("input_size", "hidden_size"), batch_first=True, state="hx")

    Anything left out is inferred from the signatures of the class: the name of the width, whether
    the constructor takes a config, and the masks that `forward` requires.

    Args:
        cls: the class, or `package.module:Class` or `file.py:Class`.
        config: the class of the config that the constructor takes, or "plain" for an object with
            the options as attributes.
        config_argument: the name of the constructor's config argument; "config" if it cannot be
            inferred.
        forward: further arguments of `forward`. The words "input", "causal" and "positions" stand
            for the input, a mask (L, L) with -inf at later positions, and the positions (1, L).
            Or a function (module, x) -> y to call instead of `forward`.
        output: the index of the output if `forward` returns several values.
        layout: layout of input and output: "BLD", or "LBD" for (L, batch, d_model).
        state: the argument of `forward` that takes the state. The new state is the second value
            that `forward` returns; the state before the first token is None.
        cache: the argument of `forward` that takes a cache, which `forward` changes in place.
        cache_class: the class of the cache.
        step: arguments of `forward` when it reads one token; or a function (module, x_t, state)
            -> (y_t, new state).
        initial_state: a function (module, batch_size) -> state, if the class has none.
        options: arguments of the constructor, or fields of its config. The names `d_model`,
            `max_len`, `layer_idx` and `n_layers` map our sizes to arguments of the class, one or
            several: `d_model="dim"`; `**{"d_model/2": "head_dim"}` passes half the width.

    Returns:
        The mixer, for use wherever a mixer is expected.

    Raises:
        UserError: if the class lacks a name, or if arguments contradict each other.
    """
    told, plain = _split(options)
    name = resolve(cls) if isinstance(cls, str) else name_of(cls)
    read = read_off(import_class(name), plain, config=config, config_argument=config_argument)
    replaced = {what for what in told.values() if what in CONTEXT}
    given = {name: what for name, what in read.given.items() if what not in replaced}
    calls = {
        "forward": forward,
        "output": output,
        "layout": layout,
        "state": state,
        "cache": cache,
        "cache_class": cache_class,
        "step": step,
        "initial_state": initial_state,
    }
    if isinstance(forward, Mapping) and isinstance(read.forward, Mapping):
        calls["forward"] = {**read.forward, **forward}
    changes = {name: value for name, value in calls.items() if value is not None}
    how = read.replace(given={**given, **told}, **changes)
    return MixerSpec(mixer=name, options=plain, adapt=how)


def _split(options: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Split options into arguments that receive a part of the context, and all others.

    Raises:
        UserError: if a part of the context is not mapped to a name.
    """
    told: dict[str, str] = {}
    plain: dict[str, Any] = {}
    for name, value in options.items():
        part = PART.fullmatch(name)
        is_number = isinstance(value, int)  # layer_idx=0 is an option, the same in all layers
        if part is None or part[1] not in CONTEXT or is_number:
            plain[name] = value
            continue
        theirs = [value] if isinstance(value, str) else value
        if not isinstance(theirs, Sequence) or not all(isinstance(each, str) for each in theirs):
            raise UserError(f"{name}={value!r}: expected its name in the class, such as 'dim'")
        told |= dict.fromkeys(theirs, name)
    return told, plain
