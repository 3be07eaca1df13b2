"""Hybrids: named layer patterns, as in `ModelConfig(mixer="griffin")`.

A pattern is a list of mixers, one for each layer of a period, which repeats over the depth. A model
has one period by default; set `n_layers` for more.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recollect.mixers.catalogue import MixerSpec, as_spec, mixer
from recollect.mixers.options import changed
from recollect.registry import Registry

Mixers = Sequence[str | MixerSpec]
PatternFunction = Callable[[], Mixers]


@dataclass(frozen=True)
class PatternEntry:
    """A layer pattern and its origin; the docstring of its function describes it."""

    mixers: PatternFunction
    title: str
    paper: str
    year: int
    has_positions: bool

    @cached_property
    def layers(self) -> tuple[MixerSpec, ...]:
        """The mixer of each layer of one period."""
        return tuple(as_spec(each) for each in self.mixers())

    @property
    def description(self) -> str:
        """The description of the pattern."""
        return inspect.getdoc(self.mixers) or ""


PATTERNS: Registry[PatternEntry] = Registry("layer pattern", "recollect.mixers")


def register_pattern(
    name: str, *, title: str, paper: str, year: int, has_positions: bool = True
) -> Callable[[PatternFunction], PatternFunction]:
    """Put the layer pattern that a function returns into the catalogue.

    Args:
        name: the name that users type.
        title: the name in tables and figures.
        paper: arXiv id of the paper that introduced the pattern.
        year: year of that paper.
        has_positions: False: as published, even its attention has no positions.
    """

    def register(function: PatternFunction) -> PatternFunction:
        PATTERNS.add(name, PatternEntry(function, title, paper, year, has_positions))
        return function

    return register


def with_options(layers: Iterable[MixerSpec], options: Mapping[str, Any]) -> tuple[MixerSpec, ...]:
    """Return the layers, with `options` set in each mixer that has them."""
    return tuple(
        each.replace(options={**each.options, **{n: options[n] for n in own}})
        if (own := each.options.keys() & options.keys())
        else each
        for each in layers
    )


def pattern_name(layers: Iterable[MixerSpec]) -> str | None:
    """Return the name of the pattern with these layers: `griffin`, or None.

    If the layers differ from a pattern in options alone, and an option has one value in all mixers
    that have it, these options follow: `griffin(window=4)`.
    """
    layers = tuple(layers)
    found = {
        name: changes
        for name in PATTERNS
        if (changes := _changes(PATTERNS[name].layers, layers)) is not None
    }
    if not found:
        return None
    nearest = min(found, key=lambda name: len(found[name]))
    options = ",".join(f"{name}={value}" for name, value in found[nearest].items())
    return f"{nearest}({options})" if options else nearest


def _changes(
    pattern: tuple[MixerSpec, ...], layers: tuple[MixerSpec, ...]
) -> dict[str, Any] | None:
    """The options that make a pattern these layers; None if no options do."""
    if [each.mixer for each in pattern] != [each.mixer for each in layers]:
        return None
    changes: dict[str, Any] = {}
    for own, given in zip(pattern, layers, strict=True):
        changes |= changed(given.options, own.options)
    return changes if with_options(pattern, changes) == layers else None


@register_pattern("based", title="Based", paper="2402.18668", year=2024, has_positions=False)
def based() -> Mixers:
    """Alternate short convolution and Taylor linear attention, as in Zoology's figure 2.

    There it has no positions: set `positions=None`.
    """
    return [mixer("base-conv", kernel_size=3), mixer("taylor-linear-attention", feature_dim=8)]


@register_pattern("based-window", title="Based with window", paper="2402.18668", year=2024)
def based_window() -> Mixers:
    """Taylor linear attention and a sliding window among short convolutions, as published.

    The order is that of Based's language model of 360M parameters, which has a window of 128. Its
    convolutions are wider, with a SiLU and a second linear map in place of the skip.
    """
    conv = mixer("base-conv", kernel_size=3)
    return [conv, "taylor-linear-attention", "sliding-window", conv, conv]


@register_pattern("griffin", title="Griffin", paper="2402.19427", year=2024)
def griffin() -> Mixers:
    """Two gated linear recurrences, then sliding-window attention (1,024 in the paper)."""
    return ["rg-lru", "rg-lru", "sliding-window"]


@register_pattern("jamba", title="Jamba", paper="2403.19887", year=2024, has_positions=False)
def jamba() -> Mixers:
    """Eight layers: attention in the fifth, Mamba with norms on dt, B and C in the others.

    Its attention has no positions: set `positions=None`. Left out are its mixtures of experts.
    """
    mamba = mixer("mamba", inner_norms=True)
    return [mamba] * 4 + ["attention"] + [mamba] * 3


@register_pattern("striped-hyena", title="StripedHyena", paper="2403.17844", year=2024)
def striped_hyena() -> Mixers:
    """Alternate Hyena and attention, as in StripedHyena-7B.

    Evo has fewer attention layers: the 9th, 17th and 25th of 32. The filters of StripedHyena-7B are
    sums of two complex exponentials per channel; these are Hyena's implicit ones.
    """
    return ["hyena", "attention"]


@register_pattern("samba", title="Samba", paper="2406.07522", year=2024)
def samba() -> Mixers:
    """Alternate Mamba and sliding-window attention (2,048 in the paper)."""
    return ["mamba", "sliding-window"]


@register_pattern("kimi-linear", title="Kimi Linear", paper="2510.26692", year=2025)
def kimi_linear() -> Mixers:
    """Three layers of KDA, then one of latent attention without positions.

    Its latent attention has the shared key, but does not rotate it.
    """
    return ["kda", "kda", "kda", mixer("mla", rotated=False)]


@register_pattern("qwen3-next", title="Qwen3-Next", paper="2505.06708", year=2025)
def qwen3_next() -> Mixers:
    """Three layers of Gated DeltaNet, then one of gated attention.

    The model has no paper of its own; the arXiv id is that of its gated attention.
    """
    return ["gated-delta-net", "gated-delta-net", "gated-delta-net", "gated-attention"]


@register_pattern("xlstm", title="xLSTM", paper="2405.04517", year=2024)
def xlstm() -> Mixers:
    """Alternate mLSTM and sLSTM of one head: xLSTM[1:1], as on the paper's synthetic tasks.

    Left out is the gated feed-forward of factor 1.3 after each sLSTM; the recipe's `mlp` adds one
    to every layer. The largest language models have seven layers of mLSTM for each of sLSTM.
    """
    return [mixer("mlstm", n_heads=1), mixer("slstm", n_heads=1)]


@register_pattern(
    "base-conv-attention", title="BaseConv + attention", paper="2312.04927", year=2023
)
def base_conv_attention() -> Mixers:
    """Zoology's hybrid with attention in few layers: here one in four, in Zoology 3 of 48.

    All convolutions are short: with full-length filters, models recalled a single pair.
    """
    return _one_in_four("all")


@register_pattern(
    "base-conv-programmatic",
    title="BaseConv + programmatic attention",
    paper="2312.04927",
    year=2023,
)
def base_conv_programmatic() -> Mixers:
    """`base-conv-attention` with attention only where a token occurred before."""
    return _one_in_four("programmatic")


@register_pattern(
    "base-conv-learned", title="BaseConv + learned attention", paper="2312.04927", year=2023
)
def base_conv_learned() -> Mixers:
    """`base-conv-attention` with attention at positions that it learns to select."""
    return _one_in_four("learned")


@register_pattern(
    "base-conv-random", title="BaseConv + random attention", paper="2312.04927", year=2023
)
def base_conv_random() -> Mixers:
    """`base-conv-attention` with attention at random positions, as a control."""
    return _one_in_four("random")


def _one_in_four(selection: str) -> Mixers:
    conv = mixer("base-conv", kernel_size=3)
    return [conv, mixer("sparse-attention", selection=selection), conv, conv]
