"""Sound mixers; most faulty ones derive from the first two."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Average(nn.Module):
    """A linear map of the mean of all inputs so far."""

    def __init__(self, d_model):
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        counts = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return self.proj(x.cumsum(1) / counts[:, None])

    def initial_state(self, batch_size):
        return {"count": 0, "sum": self.proj.weight.new_zeros(batch_size, self.proj.in_features)}

    def step(self, x_t, state):
        new = {"count": state["count"] + 1, "sum": state["sum"] + x_t}
        return self.proj(new["sum"] / new["count"]), new


class WithoutStep(nn.Module):
    """The same without a step form."""

    def __init__(self, d_model):
        super().__init__()
        self.average = Average(d_model)

    def forward(self, x):
        return self.average(x)


class GoodLimit(WithoutStep):
    """It supports `max_len` positions, and raises ValueError beyond."""

    def __init__(self, d_model, max_len):
        super().__init__(d_model)
        self.max_len = max_len
        self.positions = nn.Parameter(torch.randn(max_len, d_model))

    def forward(self, x):
        if x.shape[1] > self.max_len:
            raise ValueError(f"{x.shape[1]} positions, built for {self.max_len}")
        return self.average(x) + self.positions[: x.shape[1]]


class SinglePrecision(WithoutStep):
    """In float32 only."""

    def forward(self, x):
        if x.dtype != torch.float32:
            raise TypeError("expected float32")
        return self.average(x)


class SingleState(Average):
    """The state is in float32, whatever the weights are."""

    def initial_state(self, batch_size):
        return {"count": 0, "sum": torch.zeros(batch_size, self.proj.in_features)}

    def step(self, x_t, state):
        sum_ = state["sum"]
        sum_ = torch.stack([sum_, x_t.to(sum_.dtype)]).sum(0)
        count = state["count"] + 1
        return self.proj(sum_ / count), {"count": count, "sum": sum_}


class RoundedInside(WithoutStep):
    """An FFT in float32, whatever the input is."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.filter = nn.Parameter(torch.randn(100, d_model))

    def forward(self, x):
        taps, single = self.filter.float()[: x.shape[1]], x.float()
        y = torch.fft.irfft(torch.fft.rfft(single, 240, 1) * torch.fft.rfft(taps, 240, 0), 240, 1)
        return self.average(y[:, : x.shape[1]].to(x.dtype))


class ComplexWeights(WithoutStep):
    """A complex decay."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.rate = nn.Parameter(torch.complex(-torch.rand(d_model) - 1, torch.rand(d_model)))

    def forward(self, x):
        lags = torch.arange(x.shape[1], device=x.device)[:, None]
        taps, n = torch.exp(lags * self.rate).real, 2 * x.shape[1]
        y = torch.fft.irfft(torch.fft.rfft(x, n, 1) * torch.fft.rfft(taps, n, 0), n, 1)
        return self.average(y[:, : x.shape[1]])


class Dropout(WithoutStep):
    def forward(self, x):
        return self.average(F.dropout(x, 0.1, self.training))


class WithOption(WithoutStep):
    """It requires an option."""

    def __init__(self, d_model, *, width):
        super().__init__(d_model)
        self.down, self.up = nn.Linear(d_model, width), nn.Linear(width, d_model)

    def forward(self, x):
        return self.up(F.gelu(self.down(self.average(x))))


class Cell(NamedTuple):
    count: int
    sum: Tensor


class Shared(Average):
    """A state with a named tuple, two parts of which share storage."""

    def initial_state(self, batch_size):
        zeros = self.proj.weight.new_zeros(batch_size, self.proj.in_features)
        return {"cell": Cell(0, zeros), "part": zeros[:, :1]}

    def step(self, x_t, state):
        cell = Cell(state["cell"].count + 1, state["cell"].sum + x_t)
        return self.proj(cell.sum / cell.count), {"cell": cell, "part": cell.sum[:, :1]}


class NotANumber(Average):
    """A state that holds NaN, in a tensor and as a plain number."""

    def initial_state(self, batch_size):
        return super().initial_state(batch_size) | {
            "largest": self.proj.weight.new_full((batch_size,), math.nan),
            "lowest": math.nan,
        }

    def step(self, x_t, state):
        y_t, new = super().step(x_t, state)
        return y_t, state | new
