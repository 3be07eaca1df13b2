"""Causal mixers whose forward pass changes them, each in another way."""

import itertools
import random
from dataclasses import dataclass

import torch
from torch import nn


class Mean(nn.Module):
    """A projected running mean; the mixers below scale it by what they count or keep."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)
        self.register_buffer("n", torch.zeros(()))

    def scale(self, _x):
        return 1.0

    def forward(self, x):
        places = torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)
        return self.proj(x.cumsum(1) / places[:, None]) * self.scale(x)


class ReplacesBuffer(Mean):
    def scale(self, _x):
        if self.training:
            self.n = self.n + 1
        return 1 + 0.01 * self.n


class ChangesBuffer(Mean):
    def scale(self, _x):
        self.n.add_(self.training)
        return 1 + 0.01 * self.n


class ChangesData(Mean):
    """As code books kept by moving averages do: no version counter sees it."""

    def scale(self, _x):
        if self.training:
            self.n.data.mul_(0.9).add_(0.1)
        return 1 + self.n


class InEvaluation(Mean):
    def scale(self, _x):
        if not self.training:
            self.n = self.n + 1
        return 1 + 0.1 * self.n


class OnSwitching(Mean):
    """As merged adapters do."""

    def train(self, mode=True):
        if mode != self.training:
            self.proj.weight.data *= 2 if mode else 0.5
        return super().train(mode)


class Counts(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.k = 0

    def scale(self, _x):
        self.k += self.training
        return 1 + 0.01 * self.k


class Toggles(Counts):
    """Back where it was after two calls."""

    def scale(self, _x):
        self.k = 1 - self.k
        return 1 + 0.1 * self.k


class KeepsList(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.calls: dict[str, list[int]] = {"lengths": []}

    def scale(self, x):
        self.calls["lengths"].append(x.shape[1])
        return 1 + 0.01 * len(self.calls["lengths"])


@dataclass
class Cache:
    longest: int = 0
    table: torch.Tensor | None = None


@dataclass(slots=True)
class SlottedCache:
    longest: int = 0
    table: torch.Tensor | None = None


class KeepsCache(Mean):
    """A table for the first length, which longer ones find too short."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.cache: Cache | SlottedCache = Cache()

    def scale(self, x):
        if self.cache.table is None:
            self.cache.longest, self.cache.table = x.shape[1], torch.ones(x.shape[1])
        return 1 + 0.01 * self.cache.longest


class KeepsSlottedCache(KeepsCache):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.cache = SlottedCache()


class Iterates(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.ids = itertools.count()

    def scale(self, _x):
        return 1 + 0.01 * next(self.ids)


class DrawsPlainly(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.rng = random.Random(0)

    def scale(self, _x):
        return 1 + 0.1 * self.rng.random()


class LazyBuffer(Mean):
    def scale(self, x):
        if not hasattr(self, "places"):
            self.register_buffer("places", torch.tensor(x.shape[1]), persistent=False)
        return self.places / 8


class GrowsBuffer(Mean):
    """Enough for some lengths, and too short for others."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.register_buffer("places", torch.ones(6))

    def scale(self, x):
        if len(self.places) < x.shape[1]:
            self.places = torch.full((x.shape[1],), 0.5)
        return self.places[: x.shape[1], None].to(x.dtype)


class SwapsModule(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.act: nn.Module = nn.Identity()

    def scale(self, x):
        if isinstance(self.act, nn.Identity):
            self.act = nn.Tanh()
        return 1.0 + self.act(x)


class Normalises(Mean):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.norm = nn.BatchNorm1d(d_model)

    def scale(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Spectral(Mean):
    """Power iteration on buffers, and a weight that is computed anew at each call."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        nn.utils.parametrizations.spectral_norm(self.proj)


CHANGING: dict[type[nn.Module], str] = {
    ReplacesBuffer: "n",
    ChangesBuffer: "n",
    ChangesData: "n",
    InEvaluation: "n",
    OnSwitching: "proj.weight",
    Counts: "k",
    Toggles: "k",
    KeepsList: "calls.lengths.0",
    KeepsCache: "cache.longest",
    KeepsSlottedCache: "cache.longest",
    Iterates: "ids",
    DrawsPlainly: "rng",
    LazyBuffer: "places",
    GrowsBuffer: "places",
    SwapsModule: "act",
    Normalises: "norm.running_mean",
    Spectral: "proj.parametrizations.weight.0._u",
}
"""Mixers, and what of each its forward pass changes first."""


class MakesParameter(Mean):
    """A parameter from the first call on."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.gain = None

    def scale(self, x):
        if self.gain is None:
            self.gain = nn.Parameter(torch.ones_like(x[0, 0]))
        return self.gain


class ReplacesParameter(Mean):
    """The optimiser goes on with the one before."""

    def scale(self, _x):
        if self.training:
            self.proj.bias = nn.Parameter(self.proj.bias.detach() + 0)
        return 1.0


class MakesModule(Mean):
    def scale(self, x):
        if not hasattr(self, "late"):
            self.late = nn.Linear(x.shape[2], 1).to(x.dtype)
        return self.late(x)


class HidesLayers(Mean):
    """Layers in a plain list: their weights are no parameters of the module."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.layers = [nn.Linear(d_model, d_model)]

    def forward(self, x):
        return super().forward(self.layers[0].to(x.dtype)(x))


MADE_ONCE = nn.Linear(8, 8)


class SharesALayer(Mean):
    """A layer that all instances share."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.first = MADE_ONCE

    def forward(self, x):
        return super().forward(self.first(x))


class StartsAnew(Mean):
    """An initial state with a gradient, which each call makes for itself."""

    def scale(self, x):
        return 1 + torch.zeros(x.shape[2], requires_grad=True)


UNTRAINED: dict[type[nn.Module], str] = {
    MakesParameter: "gain",
    ReplacesParameter: "proj.bias",
    MakesModule: "late.weight",
}
"""Mixers, and the parameter of each that no optimiser knows."""
