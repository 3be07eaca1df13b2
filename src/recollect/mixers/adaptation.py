"""How to build and call a class of another library as a mixer, as plain data.

It is part of a mixer's spec, and therefore of a trial's key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Literal

from pydantic import field_validator, model_serializer, model_validator
from torch import nn

from recollect.config import Config, without_defaults
from recollect.errors import UserError
from recollect.identity import class_name, import_class, reference, resolve, source_digest
from recollect.mixers.constructor import CONTEXT, parameters_of
from recollect.own_functions import function_reference, name_and_digest, stored_name

INPUT, CAUSAL, POSITIONS = "input", "causal", "positions"
"""Words for arguments of `forward`: the input; a mask (L, L) with -inf at later positions and 0
elsewhere; the positions 0 to L - 1, of shape (1, L)."""
PLAIN = "plain"
"""The name of a plain object with the fields as attributes, instead of a config class."""
PART = re.compile(r"(\w+)(?:([*/])(\d+))?")


class Adaptation(Config):
    """How to build and call a class.

    Attributes:
        given: arguments of the constructor, or fields of its config, and the part of `CONTEXT` for
            each: "d_model", "d_model/2", "d_model*4", "layer_idx", ...
        config_argument: the argument of the constructor that takes a config; None: none does.
        config: the class of the config, or "plain" for an object with the fields as attributes.
        forward: further arguments of `forward`: values, or the words "input", "causal" and
            "positions". Or a function (module, x) -> y to call instead of `forward`.
        output: the index of the output if `forward` returns several values.
        layout: layout of input and output: "BLD", or "LBD" for (L, batch, d_model).
        state: the argument of `forward` that takes the state. The new state is the second value
            that `forward` returns; the state before the first token is None.
        cache: the argument of `forward` that takes a cache, which `forward` changes in place.
        cache_class: the class of the cache, built from the config if there is one.
        step: arguments of `forward` when it reads one token. Or a function (module, x_t, state)
            -> (y_t, new state).
        initial_state: a function (module, batch_size) -> state, for a class that can step but has
            no `initial_state`.
        ready: the name of a ready adaptation, such as "hf:mamba2"; None: this is not one.
        initialise: "transformers": weights start as in the architecture's model in `transformers`;
            None: as the constructor leaves them.
    """

    given: Mapping[str, str] = {}
    config_argument: str | None = None
    config: str = PLAIN
    forward: Mapping[str, Any] | str = {}
    output: int = 0
    layout: Literal["BLD", "LBD"] = "BLD"
    state: str | None = None
    cache: str | None = None
    cache_class: str | None = None
    step: Mapping[str, Any] | str = {}
    initial_state: str | None = None
    ready: str | None = None
    initialise: Literal["transformers"] | None = None

    @field_validator("given")
    @classmethod
    def _is_context(cls, given: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in given.items():
            part = PART.fullmatch(value)
            if part is None or part[1] not in CONTEXT:
                raise UserError(
                    f"{name} gets {value!r}: expected one of {', '.join(CONTEXT)}, or a part or"
                    " multiple such as d_model/2"
                )
        return given

    @field_validator("forward", "step", "initial_state", mode="before")
    @classmethod
    def _finds_function(cls, value: Any) -> Any:
        is_plain = value is None or isinstance(value, Mapping)
        return value if is_plain else function_reference(value, "function")

    @field_validator("config", "cache_class", mode="before")
    @classmethod
    def _finds_class(cls, value: Any) -> Any:
        return class_reference(value)

    @model_validator(mode="after")
    def _can_step(self) -> Adaptation:
        if self.state and self.cache:
            raise UserError("state and cache are both set: set only one of them")
        by_place = {} if isinstance(self.forward, str) else self.forward
        told = [name for name, value in by_place.items() if value == POSITIONS]
        if (self.state or self.cache) and not set(told) <= set(self.step):
            raise UserError(
                f"forward takes positions as {', '.join(told)}, but a step has no position: set"
                " step to a function that counts positions in its state"
            )
        return self

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Adaptation], dict[str, Any]]) -> dict[str, Any]:
        stored = without_defaults(self, fields, type(self).model_fields)
        for name in ("forward", "step", "initial_state"):
            if isinstance(stored.get(name), str):
                stored[name] = stored_name(stored[name])
        for name in ("config", "cache_class"):
            if ":" in stored.get(name, ""):
                found = import_class(stored[name])
                stored[name] = f"{class_name(found)}#{source_digest(found)}"
        return stored

    def make(
        self, cls: type[nn.Module], context: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[nn.Module, Any]:
        """Build the module of a layer.

        Args:
            cls: the class of the module.
            context: the values of `CONTEXT`.
            options: arguments of the constructor, or fields of its config.

        Returns:
            The module, and the config it was built from or None.

        Raises:
            UserError: if the width is not divisible as `given` requires.
            Exception: whatever the constructor raises.
        """
        given = {name: _value(name, what, context) for name, what in self.given.items()}
        values = given | dict(options)
        if self.config_argument is None:
            return cls(**values), None
        own = values.keys() & parameters_of(cls).keys() - {self.config_argument}
        fields = {name: value for name, value in values.items() if name not in own}
        config = (SimpleNamespace if self.config == PLAIN else import_class(self.config))(**fields)
        module = cls(**{self.config_argument: config}, **{name: values[name] for name in own})
        return module, config

    def takes(self, name: str) -> bool:
        """Return whether the constructor, or its config, receives this part of the context."""
        parts = map(PART.fullmatch, self.given.values())
        return any(part is not None and part[1] == name for part in parts)

    @property
    def changes_calls(self) -> bool:
        """Whether the module is called differently from the mixers of this package."""
        built = {"given", "config_argument", "config", "initialise", "ready"}
        fields = type(self).model_fields
        return any(
            getattr(self, name) != field.default
            for name, field in fields.items()
            if name not in built
        )

    @property
    def label(self) -> str:
        """The differences in its calls, in short: `attn_mask=causal,state=hx`."""
        if isinstance(self.forward, str):
            parts = [f"forward={_short(self.forward)}"]
        else:
            told = {n: v for n, v in self.forward.items() if v not in (None, INPUT, POSITIONS)}
            parts = [f"{name}={value}" for name, value in told.items()]
        parts += [f"output={self.output}"] if self.output else []
        parts += [f"layout={self.layout}"] if self.layout != "BLD" else []
        for name, what in (("state", self.state), ("cache", self.cache)):
            parts += [f"{name}={what}"] if what else []
        return ",".join(parts)

    def __str__(self) -> str:
        parts = [f"{name} gets {what}" for name, what in self.given.items() if name != what]
        if self.config_argument is not None:
            kind = "a plain object" if self.config == PLAIN else self.config.rpartition(":")[2]
            parts.append(f"{self.config_argument} is {kind} with these fields")
        if isinstance(self.forward, str):
            parts.append(f"{_short(self.forward)} is called instead of forward")
        else:
            parts += [f"forward gets {name}={what}" for name, what in self.forward.items()]
        if self.layout != "BLD":
            parts.append("input and output are (L, batch, d_model)")
        if self.output:
            parts.append(f"the output is value {self.output} that forward returns, counted from 0")
        for name, what in (("state", self.state), ("cache", self.cache)):
            parts += [f"its {what} is the {name}"] if what else []
        if isinstance(self.step, str):
            parts.append(f"{_short(self.step)} is its step")
        return "; ".join(parts)


def _value(argument: str, what: str, context: Mapping[str, Any]) -> Any:
    part = PART.fullmatch(what)
    assert part is not None
    name, operation, number = part.groups()
    if operation == "*":
        return context[name] * int(number)
    if operation == "/":
        if context[name] % int(number):
            raise UserError(
                f"{name}={context[name]}: expected a multiple of {number}, since {argument} is"
                f" {what}; change {name}, or set {argument}"
            )
        return context[name] // int(number)
    return context[name]


def class_reference(value: Any) -> Any:
    """Return where this machine finds a class that is given as an object or by name."""
    if isinstance(value, type):
        return reference(value)
    if not isinstance(value, str) or ":" not in value:
        return value
    name, digest = name_and_digest(value)
    found = resolve(name, digest)
    if digest is not None and source_digest(import_class(found)) != digest:
        raise UserError(f"the class {name!r} has changed since this was stored")
    return found


def _short(name: str) -> str:
    return name.rpartition(":")[2]
