"""Mixers with a fault on one path only (a chunk, a length, a type), and sound ones to compare."""

import torch
import torch.nn.functional as F
from sound import Average, WithoutStep
from torch import nn


def following(x):
    return F.pad(x[:, 1:], (0, 0, 0, 1))


class ChunkEnd(WithoutStep):
    """The last position of a chunk sees the first of the next."""

    def __init__(self, d_model, *, size):
        super().__init__(d_model)
        self.size = size

    def forward(self, x):
        at_end = torch.arange(x.shape[1]) % self.size == self.size - 1
        return self.average(x) + at_end[:, None] * following(x)


class AtLengths(WithoutStep):
    """It sees the next position if its length is a multiple of a number, and in a range."""

    def __init__(self, d_model, *, multiple=1, least=1, most=512):
        super().__init__(d_model)
        self.multiple, self.least, self.most = multiple, least, most

    def forward(self, x):
        sees = x.shape[1] % self.multiple == 0 and self.least <= x.shape[1] <= self.most
        return self.average(x) + (following(x) if sees else 0)


class InSingle(WithoutStep):
    def forward(self, x):
        return self.average(x) + (0 if x.dtype == torch.float64 else following(x))


class MixesRowsInSingle(WithoutStep):
    def forward(self, x):
        return self.average(x if x.dtype == torch.float64 else x - x.mean(0))


class UnderAutocast(WithoutStep):
    def forward(self, x):
        return self.average(x) + (following(x) if torch.is_autocast_enabled("cpu") else 0)


class InHalf(nn.Module):
    """Half precision inside, and `leak` of the next input."""

    leak = 0.008

    def __init__(self, d_model):
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        y = F.linear(x.bfloat16(), self.proj.weight.bfloat16(), self.proj.bias.bfloat16())
        return y.to(x.dtype) + self.leak * following(x)


class SoundInHalf(InHalf):
    leak = 0.0


class RoomFor128(WithoutStep):
    """A fixed limit of 128 positions, which no argument shows."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.positions = nn.Parameter(torch.randn(128, d_model))

    def forward(self, x):
        return self.average(x) + self.positions[: x.shape[1]]


class OverwritesTokens(WithoutStep):
    def forward(self, x, tokens):
        tokens.add_(1)
        return self.average(x)


class SparseGradient(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.embedding = nn.Embedding(8, d_model, sparse=True)

    def forward(self, x, tokens):
        return self.average(x) + self.embedding(tokens)


class StepKeepsLength(Average):
    def step(self, x_t, state):
        y_t, state = super().step(x_t, state)
        return y_t[:, None], state


class StepAlone(WithoutStep):
    def step(self, x_t, state):
        return x_t, state


class NotFiniteAt100(WithoutStep):
    def forward(self, x):
        return self.average(x) / (0 if x.shape[1] == 100 else 1)


class InNumbers(Average):
    """Its sum is a list of numbers."""

    def initial_state(self, batch_size):
        return [0, [[0.0] * self.proj.in_features] * batch_size]

    def step(self, x_t, state):
        total = torch.tensor(state[1], dtype=x_t.dtype) + x_t
        return self.proj(total / (state[0] + 1)), [state[0] + 1, total.tolist()]


class InBytes(Average):
    """Its sum is a string of bytes."""

    def initial_state(self, batch_size):
        return 0, bytes(8 * batch_size * self.proj.in_features)

    def step(self, x_t, state):
        total = torch.frombuffer(bytearray(state[1]), dtype=torch.float64).view(x_t.shape) + x_t
        packed = total.double().numpy().tobytes()
        return self.proj((total / (state[0] + 1)).to(x_t)), (state[0] + 1, packed)
