"""The catalogue of mixers, and a mixer with its options as a config.

A mixer is a plain `nn.Module` that maps (batch, length, d_model) to the same shape. It is built by
keyword: its constructor receives `d_model`, and those other parts of `CONTEXT` that it names. If
the mixer has a method `auxiliary_loss(x)`, training adds its value at the mixer's input to the
loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import model_serializer, model_validator
from torch import nn

from recollect.config import Config, without_defaults
from recollect.errors import UserError, no_exit
from recollect.identity import class_name, import_class, is_ours, reference, resolve, source_digest
from recollect.mixers.adaptation import Adaptation
from recollect.mixers.adapted import build_adapted
from recollect.mixers.adapted_options import options_of, refuse_options
from recollect.mixers.constructor import mixer_options, signature_of
from recollect.mixers.inference import inferred
from recollect.mixers.marks import protect_marks
from recollect.mixers.options import (
    as_options,
    as_stored,
    changed,
    default_options,
    in_whole_numbers,
)
from recollect.mixers.process_settings import unchanged_settings
from recollect.mixers.ready import is_ready, ready, ready_options
from recollect.registry import Registry

FILLER = "filler"
"""The option for the id of the task's filler token. A mixer whose `filler` has no default, or the
default None, receives the task's filler unless the option is set."""
FOREIGN_NUMERICS = 2
"""The version of how mixers from outside of this package are initialised, called and trained. It
is part of the key of their trials; raise it when any of that changes."""
LATER = "later_options"
"""The class attribute that names options added after trials of the mixer were stored. At their
defaults these options are left out of a stored spec, so that existing keys stay valid."""
VERSION = ("numerics", "source", "foreign")
"""The fields of a stored mixer that identify the version of its class."""


@dataclass(frozen=True)
class MixerEntry:
    """A mixer of the catalogue, its origin, and facts about it for studies and figures."""

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
        name: the name that users type.
        family: the kind of op underneath, such as "attention" or "convolution".
        title: the name in tables and figures.
        paper: arXiv id of the paper that introduced the mixer, or its repository if there is no
            paper.
        year: year of the paper or repository.
        looks_back: whether the mixer itself combines a token with the tokens just before it: by a
            short convolution, a shift, a mean of two, or rotated queries and keys. The zoo puts a
            short convolution before mixers that do not.
        look: number of its colour and marker in figures (`reports.style`), below 77 and unique in
            the catalogue; None: the name determines them.

    Returns:
        A decorator of the mixer's class, which it returns as it is.

    Raises:
        ValueError: if the name is taken by another class.
    """

    def register(cls: MixerClass) -> MixerClass:
        MIXERS.add(name, MixerEntry(cls, family, title, paper, year, looks_back, look))
        return cls

    return register


class MixerSpec(Config):
    """A mixer and its options.

    Attributes:
        mixer: a name of the catalogue, `package.module:Class`, `file.py:Class`, or a ready mixer of
            another library such as `hf:mamba2` (`mixers.ready`). The stored form holds the name of
            the class without its folder, and its version: a numerics version for mixers of this
            package, a digest of the source for others.
        options: keyword arguments of the constructor; those left out get their defaults.
        adapt: how to build and call a class of another library; None: like the mixers of this
            package. Anything left out is inferred from the class's signatures
            (`mixers.inference`).

    Raises:
        UserError: for an unknown mixer or option, a required option that is missing, or a stored
            spec of another version of the mixer.
    """

    mixer: str
    options: Mapping[str, Any] = {}
    adapt: Adaptation | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("mixer"), str):
            return values  # pydantic reports what is missing
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
        if is_ours(mixer_class):
            options = in_whole_numbers(options, mixer_options(mixer_class))
        values["options"] = _defaults(mixer_class, how) | options
        values["adapt"] = how
        if version and version != _version(mixer_class):
            raise UserError(f"the mixer {values['mixer']!r} has changed since this was stored")
        return values

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[MixerSpec], dict[str, Any]]) -> dict[str, Any]:
        later = set(getattr(self.cls, LATER, ())) - self.changed_options.keys()
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
        """The mixer's name, with the options that are not at their defaults: `mamba(d_conv=0)`."""
        ready_name = self.adapt.ready if self.adapt is not None else None
        name = ready_name or self.mixer.rpartition(":")[2]
        parts = [f"{n}={v}" for n, v in self.changed_options.items()]
        if self.adapt is not None and self.adapt.label and ready_name is None:
            parts.append(self.adapt.label)
        return f"{name}({','.join(parts)})" if parts else name

    def takes(self, name: str) -> bool:
        """Return whether the constructor receives the part of the context called `name`."""
        if self.adapt is not None:
            return self.adapt.takes(name)
        return name in signature_of(self.cls)

    @property
    def lacks_filler(self) -> bool:
        """Whether the mixer takes the task's filler token and its option `filler` is not set."""
        return _asks_for_filler(self.cls) and FILLER not in self.options

    def with_filler(self, token: int | None) -> MixerSpec:
        """Return the spec with `token` as its option `filler`, unless that is set or not needed."""
        if not self.lacks_filler:
            return self
        return self.replace(options={**self.options, FILLER: token})

    @no_exit
    def build(self, **context: Any) -> nn.Module:
        """Build the module for one layer; `context` holds the values of `CONTEXT`.

        Raises:
            Exception: whatever the constructor raises; UserError as in `unchanged_settings`.
        """
        options = self.with_filler(None).options
        with unchanged_settings(self.mixer):
            if self.adapt is None:
                module = self.cls(**self._wanted(context), **options)
            else:
                module = build_adapted(self.cls, self.adapt, context, options)
        protect_marks(module)
        return module

    def given(self, context: Mapping[str, Any]) -> str:
        """Return the constructor's arguments for messages: `context`, and options that are not at
        their defaults."""
        given = self._wanted(context) | self.changed_options
        return ", ".join(f"{name}={value!r}" for name, value in given.items())

    @property
    def changed_options(self) -> dict[str, Any]:
        """The options that are not at their defaults."""
        defaults = _defaults(self.cls, self.adapt) | as_options(ready_options(self.adapt))
        return changed(self.options, defaults)

    def _wanted(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in context.items() if self.takes(name)}


def _asks_for_filler(cls: type[nn.Module]) -> bool:
    """Whether the constructor has the option `filler` without a default, or with default None."""
    option = mixer_options(cls).get(FILLER)
    return option is not None and (option.default is option.empty or option.default is None)


def _defaults(cls: type[nn.Module], how: Adaptation | None) -> dict[str, Any]:
    """The default options of a mixer, without a filler that comes from the task."""
    defaults = default_options(options_of(cls, how))
    if _asks_for_filler(cls):
        defaults.pop(FILLER, None)
    return defaults


def mixer(name: str | type[nn.Module], **options: Any) -> MixerSpec:
    """Return the spec of a mixer with options, as in `mixer("mamba", d_conv=0)`.

    Args:
        name: a name of the catalogue, `package.module:Class`, `file.py:Class`, or a class.
        options: keyword arguments of the constructor.

    Returns:
        The spec, for use wherever a mixer is expected.

    Raises:
        UserError: if the mixer or an option is unknown, or a required option is missing.
    """
    return MixerSpec(mixer=name_of(name), options=options)


def as_spec(value: str | type[nn.Module] | MixerSpec | Mapping[str, Any]) -> MixerSpec:
    """Return the spec of a mixer given as a name, a class, a spec, or a spec's fields."""
    if isinstance(value, MixerSpec):
        return value
    if isinstance(value, Mapping):
        return MixerSpec(**value)
    return mixer(value)


def name_of(value: str | type[nn.Module]) -> str:
    """Return the name of a mixer in a spec: its name in the catalogue, or where its class is."""
    if isinstance(value, str):
        return value
    if isinstance(value, type) and issubclass(value, nn.Module):
        ours = [name for name in MIXERS if MIXERS[name].cls is value] if is_ours(value) else []
        return ours[0] if ours else reference(value)
    raise UserError(
        f"{value!r} is not a mixer: expected a name, a class, or mixer(name, option=value)"
    )


def _resolve(name: str) -> type[nn.Module]:
    if ":" not in name:
        return MIXERS[name].cls
    cls = import_class(name)
    if not issubclass(cls, nn.Module):
        raise UserError(f"{name} is not a torch.nn.Module: expected a subclass of it")
    return cls


def _version(cls: type[nn.Module]) -> dict[str, Any]:
    """The version of a class in a trial's key: the numerics version of a mixer of this package, the
    digest of the source of another."""
    numerics = getattr(cls, "numerics", 1)
    if is_ours(cls):
        return {"numerics": numerics, "source": None}
    return {"numerics": numerics, "source": source_digest(cls), "foreign": FOREIGN_NUMERICS}
