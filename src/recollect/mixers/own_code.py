"""The classes and functions of a user, or of another library, that a mixer runs."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType

from recollect.identity import import_named
from recollect.mixers.catalogue import MixerSpec


def own_code(spec: MixerSpec) -> Iterator[type | FunctionType]:
    """Yield the class of a mixer that is not ours, and what its adaptation calls."""
    if spec.is_foreign:
        yield spec.cls
    if spec.adapt is not None:
        how = spec.adapt
        for name in (how.forward, how.step, how.initial_state, how.config, how.cache_class):
            if isinstance(name, str) and ":" in name:
                yield import_named(name)
