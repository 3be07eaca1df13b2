"""Build the modules that are judged: one mixer in one context, with any weights and type."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import nn

from recollect.identity import is_ours
from recollect.models.calling import call_forward, reads_tokens
from recollect.models.config import ModelConfig
from recollect.referee.building import refuse_lazy, tensors, uninitialised
from recollect.referee.calls import blaming
from recollect.referee.generators import seed_all
from recollect.referee.inputs import FEW, MANY, random_sequences
from recollect.referee.layers import Layers
from recollect.referee.noise import add_noise
from recollect.tensors import cast

Built = tuple[int, torch.dtype, float, int | None]
"""The arguments a module was built from: seed, type, noise, and max_len if not the default."""


@dataclass(frozen=True)
class Maker:
    """Builds modules of a mixer.

    Attributes:
        config: as in `Subject`.
        max_len: as in `Subject`.
        layer_idx: as in `Subject`.
        device: as in `Subject`.
        blocks: whether the modules are residual blocks around the mixers.
    """

    config: ModelConfig
    max_len: int
    layer_idx: int
    device: str
    blocks: bool

    def construct(self, seed: int, max_len: int | None = None) -> nn.Module:
        """Build a module from a seed, as its constructor leaves it.

        Raises:
            UserError: if the mixer does not allow its options at this width.
            Misbehaviour: if it raises anything else.
        """
        seed_all(seed, torch.device(self.device))
        with blaming("building it"):
            module = self._construct(max_len or self.max_len)
        refuse_lazy(module)
        with blaming(f"moving it to {self.device}"):
            return module.to(self.device)

    def make(
        self, seed: int, dtype: torch.dtype, noise: float, max_len: int | None = None
    ) -> nn.Module:
        """Return a module as `build_fresh` builds it.

        Modules of this package are copied from a stock to save time: their copies are exact.
        """
        key = (seed, dtype, noise, max_len)
        if not self.is_ours:
            return self.build_fresh(*key)
        if key not in self._stock:
            self._stock[key] = self.build_fresh(*key)
        module = copy.deepcopy(self._stock[key])
        self._built[module] = key
        return module

    def build_fresh(
        self, seed: int, dtype: torch.dtype, noise: float = 0.0, max_len: int | None = None
    ) -> nn.Module:
        """Build a module in evaluation mode; uninitialised tensors are set to zero.

        Args:
            seed: seed of the initialisation and the noise.
            dtype: type of parameters and buffers.
            noise: standard deviation of the noise on trained parameters.
            max_len: longest length; None: the maker's.

        Raises:
            UserError: as in `construct`.
            Misbehaviour: as in `construct`.
        """
        module = cast(self.construct(seed, max_len), torch.float64)
        with torch.no_grad():
            for name in self.uninitialised:
                tensors(module)[name].zero_()
        if noise:
            add_noise(module, noise)
        module = cast(module, dtype).eval()
        self._built[module] = (seed, dtype, noise, max_len)
        return module

    def copied(self, module: nn.Module) -> nn.Module:
        """Return a copy of a module that was never called; a new build if it cannot be copied."""
        try:
            return copy.deepcopy(module)
        except Exception:  # a class without copies may raise any error
            return self.make(*self._built[module]).train(module.training)

    @cached_property
    def uninitialised(self) -> tuple[str, ...]:
        """Names of parameters and buffers that the constructor leaves uninitialised."""
        return uninitialised(lambda: self.construct(0))

    @cached_property
    def vocab(self) -> int:
        """The number of token ids that its modules get: `MANY`, or the largest half, quarter and so
        on of it that does not fail, or `FEW`.

        This is tried on the CPU, because an index out of range is fatal on a GPU.
        """
        x, tokens = random_sequences(1, 2, self.config.d_model, 0, MANY)
        try:
            module = self._construct(self.max_len)
        except Exception:  # the checks report it
            return FEW
        if not reads_tokens(module):
            return MANY
        for room in (MANY >> halvings for halvings in range((MANY // FEW).bit_length())):
            try:
                call_forward(module, x.float(), tokens.fill_(room - 1))
            except Exception:  # if it fails for another reason, the checks report it
                continue
            return room
        return FEW

    @property
    def is_ours(self) -> bool:
        """Whether all mixers are part of this package."""
        return all(is_ours(spec.cls) for spec in self.config.mixer)

    @cached_property
    def _stock(self) -> dict[Built, nn.Module]:
        return {}

    @cached_property
    def _built(self) -> WeakKeyDictionary[nn.Module, Built]:
        """The arguments of each module, to build it again."""
        return WeakKeyDictionary()

    def _construct(self, max_len: int) -> nn.Module:
        config = self.config
        if self.blocks:
            return Layers(config, max_len)
        return config.mixer[0].build(
            d_model=config.d_model,
            max_len=max_len,
            layer_idx=self.layer_idx,
            n_layers=2,
            rope=config.positions == "rope",
        )
