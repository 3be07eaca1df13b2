"""Mixers with a fault on one path only: at some positions, or in later calls."""

import torch
import torch.nn.functional as F
from sound import WithoutStep
from torch import nn


def at(y, positions):
    return y.take_along_dim(positions[..., None], 1)


class RightPositions(WithoutStep):
    def forward(self, x, output_positions=None):
        y = self.average(x)
        return y if output_positions is None else at(y, output_positions)


class RightWithDropout(RightPositions):
    def forward(self, x, *, output_positions=None):
        return super().forward(F.dropout(x, 0.1, self.training), output_positions)


class OffByOne(RightPositions):
    def forward(self, x, output_positions=None):
        if output_positions is not None:
            output_positions = (output_positions - 1).clamp(min=0)
        return super().forward(x, output_positions)


class LooksAheadThere(WithoutStep):
    """The mean of all inputs, at every requested position."""

    def forward(self, x, output_positions=None):
        if output_positions is None:
            return self.average(x)
        y = self.average.proj(x.mean(1, keepdim=True))
        return y.expand(-1, output_positions.shape[1], -1)


class LooksAheadInTraining(RightWithDropout):
    """Behind dropout, so that the two forms cannot be compared."""

    def forward(self, x, output_positions=None):
        y = super().forward(x, output_positions=output_positions)
        leak = self.training and output_positions is not None
        return y + x.mean(1, keepdim=True) if leak else y


class InOrderOnly(RightPositions):
    def forward(self, x, output_positions=None):
        if output_positions is not None:
            output_positions = output_positions.sort(1).values
        return super().forward(x, output_positions)


class PositionsOfTheFirstRow(RightPositions):
    def forward(self, x, output_positions=None):
        if output_positions is not None:
            output_positions = output_positions[:1].expand_as(output_positions)
        return super().forward(x, output_positions)


class DetachedThere(RightPositions):
    """Correct values without gradients."""

    def forward(self, x, output_positions=None):
        y = super().forward(x, output_positions)
        return y if output_positions is None else y.detach() + 0 * x.sum()


class WithoutTheLast(RightPositions):
    def forward(self, x, output_positions=None):
        if output_positions is not None and (output_positions == x.shape[1] - 1).any():
            raise IndexError("the last position has no successor")
        return super().forward(x, output_positions)


class StaleTable(WithoutStep):
    """A table of the first length that it sees."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        places = self.table[: x.shape[1]]
        places = F.pad(places, (0, x.shape[1] - len(places)), value=float(places[-1]))
        return self.average(x) + places[:, None]


class GrowingTable(WithoutStep):
    """A buffer that is rebuilt when it is too short: sound."""

    def forward(self, x):
        if not hasattr(self, "table") or len(self.table) < x.shape[1]:
            self.__dict__.pop("table", None)
            self.table = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        return self.average(x) + self.table[: x.shape[1], None]


class StaleWeights(WithoutStep):
    """In evaluation it keeps a product of weights."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.square = None

    def forward(self, x):
        if self.training:
            self.square = None
        weight = self.average.proj.weight
        if self.square is None or self.training:
            self.square = (weight @ weight).detach() if not self.training else weight @ weight
        return self.average(x) @ self.square


class CarriesOn(WithoutStep):
    """It adds the last output of one call in the next call."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.last = None

    def forward(self, x):
        y = self.average(x)
        if self.last is not None and self.last.shape == y[:, -1:].shape:
            y = y + self.last
        self.last = y[:, -1:].detach()
        return y


class HiddenStatistics(WithoutStep):
    """A running mean that no buffer shows."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.mean = 0.0

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + x.detach().mean().item()
        return self.average(x) + (0 if self.training else self.mean)


class Statistics(WithoutStep):
    """A running mean in a buffer, as batch norm has it: sound."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.mean.mul_(0.9).add_(x.detach().mean())
        return self.average(x) + (0 if self.training else self.mean)


class SpectralNorm(WithoutStep):
    """Every pass in training mode changes the buffers that estimate the norm: sound."""

    def __init__(self, d_model):
        super().__init__(d_model)
        nn.utils.parametrizations.spectral_norm(self.average.proj)


class TooLong(Exception):
    """An error of the mixer's own."""


class OwnError(WithoutStep):
    def __init__(self, d_model, max_len):
        super().__init__(d_model)
        self.max_len = max_len

    def forward(self, x):
        if x.shape[1] > self.max_len:
            raise TooLong(f"{x.shape[1]} > {self.max_len}")
        return self.average(x)


class RoomForTwice(WithoutStep):
    """A circular convolution with room for twice `max_len`: beyond that, it wraps around."""

    def __init__(self, d_model, max_len):
        super().__init__(d_model)
        self.places, self.rates = 4 * max_len, nn.Parameter(torch.rand(d_model))

    def forward(self, x):
        length = x.shape[1]
        taps = torch.exp(-torch.arange(length, device=x.device)[:, None] * self.rates / 10)
        n = self.places
        y = torch.fft.irfft(torch.fft.rfft(x, n, 1) * torch.fft.rfft(taps, n, 0), n, 1)
        return self.average(y[:, :length])


class OneShort(WithoutStep):
    """A circular convolution with room for one position too few: the last input wraps around."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.rates = nn.Parameter(torch.rand(d_model))

    def forward(self, x):
        length, n = x.shape[1], max(2 * x.shape[1] - 2, 1)
        taps = torch.exp(-torch.arange(length, device=x.device)[:, None] * self.rates / 10)
        y = torch.fft.irfft(torch.fft.rfft(x, n, 1) * torch.fft.rfft(taps, n, 0), n, 1)
        return self.average(y[:, :length])
