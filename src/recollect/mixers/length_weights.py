"""Weights that act only in sequences longer than some length, such as the last taps of a filter.

A mixer with such weights has a static method `length_weights(length, **options)`: how many of its
taps, levels or the like act in a sequence of `length` tokens. `options` are those of the mixer.
Training at a shorter length gives the others no gradient; a longer test uses them untrained.
"""

from __future__ import annotations

from recollect.mixers.catalogue import MixerSpec


def has_untrained(spec: MixerSpec, trained: int, tested: int) -> bool:
    """Return whether weights act on `tested` tokens that training on `trained` tokens leaves out.

    Args:
        spec: the mixer.
        trained: longest length in training, in tokens.
        tested: longest length of the test, in tokens.
    """
    count = getattr(spec.cls, "length_weights", None)
    if count is None:
        return False
    return bool(count(tested, **spec.options) > count(trained, **spec.options))
