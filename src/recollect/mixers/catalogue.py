"""The catalogue of mixers, and a mixer with its options as a config.

A mixer is a plain `nn.Module` that maps (batch, length, d_model) to the same shape and is built by
keyword: it is given `d_model` and, where its constructor names them, the rest of `CONTEXT`. If it
has a method `auxiliary_loss(x)`, training adds to the loss what that gives for the mixer's input.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import model_serializer, model_validator
from torch import nn

from recollect.config import Config, without_defaults
from recollect.errors import UserError, no_exit
from recollect.identity import (
    class_name,
    import_class,
    is_ours,
    reference,
    resolve,
    source_digest,
)
from recollect.mixers.adaptation import Adaptation
from recollect.mixers.adapted import build_adapted
from recollect.mixers.adapted_options import options_of, refuse_options
from recollect.mixers.constructor import mixer_options
from recollect.mixers.inference import inferred
from recollect.mixers.marks import protect_marks
from recollect.mixers.options import as_options, as_stored, changed, default_options
from recollect.mixers.ready import is_ready, ready, ready_options
from recollect.registry import Registry

FILLER = "filler"
"""The option for the token id that says nothing. Where its default is None, or it has none, it is
the task's filler token if it is not given."""
FOREIGN_NUMERICS = 2
"""Raised when a mixer that is not part of this package comes to be initialised, called or trained
in another way; it is part of the key of its trials."""
LATER = "later_options"
"""The attribute of a mixer's class that names options which were added after trials of it were
stored. At their defaults they are left out of a stored spec, so that the keys of trials stay."""
VERSION = ("numerics", "source", "foreign")
"""What a stored mixer says of its class."""


@dataclass(frozen=True)
class MixerEntry:
    """A mixer of the catalogue: where it comes from, and what else is known of it."""

    cls: type[nn.Module]
    family: str
    title: str
    paper: str
    year: int
    looks_back: bool
    look: int | None


MIXERS: Registry[MixerEntry] = Registry("mixer", "recollect.mixers")
MixerClass = TypeVar("MixerClass", bound=type[nn.Module])


def register_mixer(
    name: str,
    *,
    family: str,
    title: str,
    paper: str,
    year: int,
    looks_back: bool = True,
    look: int | None = None,
) -> Callable[[MixerClass], MixerClass]:
    """Put a mixer into the catalogue.

    Args:
        name: what users type.
        family: the kind of op underneath, such as "attention" or "convolution".
        title: its name in print, for tables and figures.
        paper: arXiv id of the paper that introduced it, or the repository where it has none.
        year: when that was.
        looks_back: whether it joins a token with those just before it by itself: by a short
            convolution, a shift, a mean of two, or rotated queries and keys. The zoo gives a short
            convolution to those that do not.
        look: number of its colour and marker in figures (`reports.style`), which no other mixer
            has; None: a figure gives it what the others leave.
    """

    def register(cls: MixerClass) -> MixerClass:
        MIXERS.add(name, MixerEntry(cls, family, title, paper, year, looks_back, look))
        return cls

    return register


class MixerSpec(Config):
    """A mixer and its options.

    Attributes:
        mixer: a name of the catalogue, `package.module:Class`, `file.py:Class`, or a ready one of
            another library such as `hf:mamba2` (`mixers.ready`). A config is
            stored with the class's name, whatever folder it lies in, and its version: the numerics
            version of ours, the digest of the source of a user's.
        options: keyword arguments of its constructor; those left out are filled in with their
            defaults.
        adapt: how a class of another library is built and called; None: as mixers of ours are.
            What is not given is read off the class's signatures (`inference`).
    """

    mixer: str
    options: Mapping[str, Any] = {}
    adapt: Adaptation | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("mixer"), str):
            return values  # pydantic says what is missing
        values = dict(values)
        version = {name: values.pop(name) for name in VERSION if name in values}
        if is_ready(values["mixer"]) and values.get("adapt") is None:
            values |= ready(values["mixer"], values.get("options", {}))
        if ":" in values["mixer"]:
            values["mixer"] = resolve(values["mixer"], version.get("source"))
        mixer_class = _resolve(values["mixer"])
        given = dict(values.get("options", {}))
        how = values.get("adapt")
        if how is None and not is_ours(mixer_class):
            how = inferred(mixer_class, given)
        elif isinstance(how, Mapping):
            how = Adaptation(**how)
        refuse_options(mixer_class, how, given, values["mixer"], optional=(FILLER,))
        options = as_options(given)
        values["options"] = _defaults(mixer_class, how) | options
        values["adapt"] = how
        if version and version != _version(mixer_class):
            raise UserError(f"the mixer {values['mixer']!r} has changed since this was stored")
        return values

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[MixerSpec], dict[str, Any]]) -> dict[str, Any]:
        later = set(getattr(self.cls, LATER, ())) - self._changed_options.keys()
        options = {n: as_stored(value) for n, value in self.options.items() if n not in later}
        name = class_name(self.cls) if ":" in self.mixer else self.mixer
        stored = without_defaults(self, fields, ("adapt",))
        return stored | {"mixer": name, "options": options} | _version(self.cls)

    @property
    def cls(self) -> type[nn.Module]:
        """The mixer's class."""
        return _resolve(self.mixer)

    @property
    def is_foreign(self) -> bool:
        """Whether the mixer is not part of this package."""
        return not is_ours(self.cls)

    @property
    def label(self) -> str:
        """The mixer's name, with those options that are not the defaults: `mamba(d_conv=0)`."""
        ready_name = self.adapt.ready if self.adapt is not None else None
        name = ready_name or self.mixer.rpartition(":")[2]
        parts = [f"{n}={v}" for n, v in self._changed_options.items()]
        if self.adapt is not None and self.adapt.label and ready_name is None:
            parts.append(self.adapt.label)
        return f"{name}({','.join(parts)})" if parts else name

    def takes(self, name: str) -> bool:
        """Whether the constructor is given this part of the context."""
        if self.adapt is not None:
            return self.adapt.takes(name)
        return name in inspect.signature(self.cls).parameters

    @property
    def lacks_filler(self) -> bool:
        """Whether the mixer asks for the task's filler token, and was not given another."""
        return _asks_for_filler(self.cls) and FILLER not in self.options

    def with_filler(self, token: int | None) -> MixerSpec:
        """The same, with the option `filler` where it was not given."""
        if not self.lacks_filler:
            return self
        told: MixerSpec = self.replace(options={**self.options, FILLER: token})
        return told

    @no_exit
    def build(self, **context: Any) -> nn.Module:
        """The module for one layer; `context` holds the values of `CONTEXT`.

        Raises:
            Exception: whatever its constructor raises.
        """
        options = self.with_filler(None).options
        if self.adapt is None:
            module = self.cls(**self._wanted(context), **options)
        else:
            module = build_adapted(self.cls, self.adapt, context, options)
        protect_marks(module)
        return module

    def given(self, context: Mapping[str, Any]) -> str:
        """What its constructor is given, for messages: context, and options that are not the
        defaults."""
        given = self._wanted(context) | self._changed_options
        return ", ".join(f"{name}={value!r}" for name, value in given.items())

    @property
    def _changed_options(self) -> dict[str, Any]:
        """The options that are not the defaults."""
        defaults = _defaults(self.cls, self.adapt) | as_options(ready_options(self.adapt))
        return changed(self.options, defaults)

    def _wanted(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in context.items() if self.takes(name)}


def _asks_for_filler(cls: type[nn.Module]) -> bool:
    """Whether the constructor has the option `filler`, without a value of its own."""
    option = mixer_options(cls).get(FILLER)
    return option is not None and (option.default is option.empty or option.default is None)


def _defaults(cls: type[nn.Module], how: Adaptation | None) -> dict[str, Any]:
    """What a mixer's options are where they are not given, but for a filler that it asks for."""
    defaults = default_options(options_of(cls, how))
    if _asks_for_filler(cls):
        defaults.pop(FILLER, None)
    return defaults


def mixer(name: str | type[nn.Module], **options: Any) -> MixerSpec:
    """A mixer with options: `mixer("mamba", d_conv=0)`, or a class of one's own."""
    return MixerSpec(mixer=name_of(name), options=options)


def as_spec(value: str | type[nn.Module] | MixerSpec | Mapping[str, Any]) -> MixerSpec:
    """Whatever names a mixer, as a spec."""
    if isinstance(value, MixerSpec):
        return value
    if isinstance(value, Mapping):
        return MixerSpec(**value)
    return mixer(value)


def name_of(value: str | type[nn.Module]) -> str:
    """What a spec calls a mixer: its name in the catalogue, or where its class is."""
    if isinstance(value, str):
        return value
    if isinstance(value, type) and issubclass(value, nn.Module):
        ours = [name for name in MIXERS if MIXERS[name].cls is value] if is_ours(value) else []
        return ours[0] if ours else reference(value)
    raise UserError(f"{value!r} is no mixer: give a name, a class, or mixer(name, option=value)")


def _resolve(name: str) -> type[nn.Module]:
    if ":" not in name:
        return MIXERS[name].cls
    cls = import_class(name)
    if not issubclass(cls, nn.Module):
        raise UserError(f"{name} is no torch.nn.Module")
    return cls


def _version(cls: type[nn.Module]) -> dict[str, Any]:
    """What a key says of a class beside its name: the numerics version of a mixer of ours, the
    digest of the source of a user's."""
    numerics = getattr(cls, "numerics", 1)
    if is_ours(cls):
        return {"numerics": numerics, "source": None}
    return {"numerics": numerics, "source": source_digest(cls), "foreign": FOREIGN_NUMERICS}
