"""Grids of models: every mixer at every depth and width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, SupportsIndex

from torch import nn

from recollect.errors import UserError
from recollect.mixers.catalogue import MixerSpec
from recollect.models.config import ModelConfig

GridMixer = str | type[nn.Module] | MixerSpec | Sequence[str | MixerSpec]
"""A mixer's name, class or spec, or a list of them: a layer pattern."""


def models_grid(
    mixers: str | type[nn.Module] | MixerSpec | Iterable[GridMixer],
    *,
    d_model: int | Sequence[int],
    n_layers: int | Sequence[int] | None = None,
    **recipe: Any,
) -> tuple[ModelConfig, ...]:
    """Every mixer at every depth and width, in the same surroundings.

        rc.models_grid(["attention", rc.mixer("mamba", d_conv=0)], d_model=[64, 128], n_layers=2)

    Args:
        mixers: a mixer, or a list of mixers: names, specs, classes, or layer patterns, which are
            lists themselves.
        d_model: one width or several.
        n_layers: one depth or several; None: 2, or the length of a layer pattern.
        recipe: other settings of `ModelConfig`, the same for all models.

    Returns:
        The models: for each mixer every depth, and for each depth every width.

    Raises:
        UserError: for an invalid mixer, width or depth, and for settings that do not fit together.
    """
    if isinstance(mixers, str | type | MixerSpec):
        mixers = [mixers]
    if not isinstance(mixers, Iterable):
        raise UserError(f"mixers={mixers!r}: expected mixers, such as 'mamba' or ['mamba', 'gla']")
    widths = _sizes("d_model", d_model)
    depths: list[dict[str, int]] = [{}]
    if n_layers is not None:
        depths = [{"n_layers": depth} for depth in _sizes("n_layers", n_layers)]
    return tuple(
        ModelConfig(mixer=mixer, d_model=width, **depth, **recipe)
        for mixer in mixers
        for depth in depths
        for width in widths
    )


def _sizes(name: str, given: Any) -> list[int]:
    """One or several whole numbers.

    Raises:
        UserError: for anything else.
    """
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    sizes = [given] if is_one else list(given)
    if not sizes or not all(
        isinstance(each, SupportsIndex) and not isinstance(each, bool) for each in sizes
    ):
        raise UserError(
            f"{name}={given!r}: expected a whole number or a list of them, such as 64 or [64, 128]"
        )
    return [index(each) for each in sizes]
