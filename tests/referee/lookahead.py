"""Mixers that look ahead, each in its own way."""

import torch
import torch.nn.functional as F
from sound import WithoutStep
from torch import nn


class SymmetricConv(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.conv = nn.Conv1d(d_model, d_model, 3, padding=1)

    def forward(self, x):
        return self.conv(x.mT).mT


class WholeSoftmax(nn.Module):
    """Attention whose softmax runs over the whole sequence."""

    def __init__(self, d_model):
        super().__init__()
        self.qkv = nn.Linear(d_model, 3 * d_model)

    def forward(self, x):
        return F.scaled_dot_product_attention(*self.qkv(x).chunk(3, dim=-1))


class CentredWindow(WholeSoftmax):
    """Every position sees four on either side."""

    def forward(self, x):
        positions = torch.arange(x.shape[1])
        near = (positions[:, None] - positions).abs() <= 4
        return F.scaled_dot_product_attention(*self.qkv(x).chunk(3, dim=-1), near)


class GatedByTime(WithoutStep):
    """A gate whose softmax runs over time."""

    def forward(self, x):
        return self.average(x) * x.softmax(1)


class NormalisedOverTime(WithoutStep):
    def forward(self, x):
        mean, deviation = x.mean(1, keepdim=True), x.std(1, keepdim=True, correction=0)
        return self.average((x - mean) / (1e-5 + deviation))


class HiddenLeak(WithoutStep):
    """The fault is behind a gate that starts at zero."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.gate = nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        return self.average(x) + self.gate * x.flip(1)


class TokenLeak(WithoutStep):
    """Every position sees the next token id, but not the next input."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.embedding = nn.Embedding(16, d_model)

    def forward(self, x, tokens):
        following = F.pad(tokens[:, 1:], (0, 1), value=15)
        return self.average(x) + self.embedding(following)


class RareTokenLeak(WithoutStep):
    """Every position sees whether the next token id is a large odd one."""

    def forward(self, x, tokens):
        following = F.pad(tokens[:, 1:], (0, 1))
        return self.average(x) + ((following >= 7) & (following % 2 == 1))[..., None]


class RareLeakOfATable(RareTokenLeak):
    """The same with room for 1,000 token ids."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.table = nn.Embedding(1000, d_model)

    def forward(self, x, tokens):
        return super().forward(x + self.table(tokens), tokens)


class LongLeak(WithoutStep):
    """A circular convolution over 140 places: enough for 64 positions, too few for 100."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.filter = nn.Parameter(torch.randn(100, d_model))

    def forward(self, x):
        taps = self.filter[: x.shape[1]]
        y = torch.fft.irfft(torch.fft.rfft(x, 140, 1) * torch.fft.rfft(taps, 140, 0), 140, 1)
        return self.average(y[:, : x.shape[1]])


class BoundaryLeak(WithoutStep):
    """The last position of a chunk of 128 sees the first of the next."""

    def forward(self, x):
        following = F.pad(x[:, 1:], (0, 0, 0, 1))
        at_end = torch.arange(x.shape[1]) % 128 == 127
        return self.average(x) + at_end[:, None] * following


class RoundedLeak(WithoutStep):
    """A softmax over time, in float32 whatever the input is."""

    def forward(self, x):
        return self.average(x.float().softmax(1).to(x.dtype))


class LeakInTraining(WithoutStep):
    def forward(self, x):
        return self.average(x - x.mean(1, keepdim=True) if self.training else x)


class LeakWithoutGradient(WithoutStep):
    """The position of the largest input leaks without a gradient."""

    def forward(self, x):
        return self.average(x) + x.argmax(1, keepdim=True)


class LeakOfGradients(WithoutStep):
    """The value is causal, but the gradient is not."""

    def forward(self, x):
        leak = x.mean(1, keepdim=True)
        return self.average(x) + leak - leak.detach()


class BatchNorm(WithoutStep):
    """In training, normalised over all rows and positions."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.norm = nn.BatchNorm1d(d_model)

    def forward(self, x):
        return self.average(self.norm(x.mT).mT)
