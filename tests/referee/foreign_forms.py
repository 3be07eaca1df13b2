"""Mixers whose parameters, types or signatures are not those of ours."""

import torch
import torch.nn.functional as F
from sound import WithoutStep
from torch import nn


class SmallVariance(WithoutStep):
    """A square root of a small positive parameter."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.variance = nn.Parameter(torch.full((d_model,), 0.05))

    def forward(self, x):
        return self.average(x) / self.variance.sqrt()


class SlowDecay(nn.Module):
    """A decay of 0.99, which noise lifts above 1."""

    def __init__(self, d_model):
        super().__init__()
        self.decay = nn.Parameter(torch.full((d_model,), 0.99))

    def forward(self, x):
        lags = torch.arange(x.shape[1], device=x.device)
        lag = lags[:, None] - lags
        taps = (self.decay ** lag.clamp(min=0)[..., None]) * (lag >= 0)[..., None]
        return torch.einsum("tsd,bsd->btd", taps, x)


class RefusesOutside(WithoutStep):
    """It raises if a weight leaves its range, at the edge of which it begins."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.scale = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        if (self.scale > 1).any():
            raise ValueError("scale must be at most 1")
        return self.average(x * self.scale)


class LogOfOne(WithoutStep):
    """The square root of a parameter that starts at zero: any noise leaves its domain."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.shift = nn.Parameter(torch.zeros(64 * d_model))

    def forward(self, x):
        return self.average(x) * (1 - self.shift.sqrt().sum())


class FrozenMask(nn.Module):
    """The causal mask of old code, a parameter that is not trained."""

    def __init__(self, d_model, max_len):
        super().__init__()
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.mask = nn.Parameter(torch.ones(max_len, max_len).tril(), requires_grad=False)

    def forward(self, x):
        length = x.shape[1]
        if length > len(self.mask):
            raise ValueError("too long")
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = (q @ k.mT).masked_fill(self.mask[:length, :length] == 0, float("-inf"))
        return scores.softmax(-1) @ v


class FrozenOrder(WithoutStep):
    """Parameters that are integers and truth values."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.order = nn.Parameter(torch.arange(d_model).flip(0), requires_grad=False)
        self.kept = nn.Parameter(torch.arange(d_model) > 0, requires_grad=False)

    def forward(self, x):
        return self.average(x[..., self.order] * self.kept)


class Uninitialised(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.decay = nn.Parameter(torch.empty(d_model))

    def forward(self, x):
        return self.average(x) * torch.sigmoid(self.decay)


class UninitialisedBuffer(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.register_buffer("scale", torch.empty(d_model))

    def forward(self, x):
        return self.average(x) * (1 + self.scale)


class UnreadBuffer(UninitialisedBuffer):
    """An uninitialised buffer that is filled before it is read: sound."""

    def forward(self, x):
        self.scale.fill_(1)
        return super().forward(x)


class Lazy(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.lazy = nn.LazyLinear(d_model)

    def forward(self, x):
        return self.lazy(self.average(x))


class MadeLate(WithoutStep):
    """A parameter that the first call creates."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.late = None

    def forward(self, x):
        if self.late is None:
            self.late = nn.Parameter(torch.ones(x.shape[-1], dtype=x.dtype, device=x.device))
        return self.average(x) * self.late


class ColumnsFirst(nn.Module):
    """batch_first is forgotten."""

    def __init__(self, d_model):
        super().__init__()
        self.rnn = nn.GRU(d_model, d_model)

    def forward(self, x):
        return self.rnn(x)[0]


class ColumnsFirstOfSeveral(ColumnsFirst):
    """It returns its last state, too."""

    def forward(self, x):
        return self.rnn(x)


class HalfWeights(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.narrow = nn.Linear(d_model, d_model).half()

    def forward(self, x):
        return self.narrow(self.average(x).half()).to(x.dtype)


class HalfOnly(WithoutStep):
    def forward(self, x):
        if x.dtype not in (torch.float16, torch.bfloat16):
            raise RuntimeError("no kernel for this type")
        return self.average(x)


class OnGpu(WithoutStep):
    def forward(self, x):
        if not x.is_cuda:
            raise RuntimeError("expected a CUDA tensor")
        return self.average(x)


class NeedsWeights(WithoutStep):
    def forward(self, x, weights):
        return self.average(x) * weights


class OtherWidth(nn.Module):
    """The width under a name that no library uses."""

    def __init__(self, size=16):
        super().__init__()
        self.proj = nn.Linear(size, size)

    def forward(self, x):
        return self.proj(x)


class OtherForm(nn.Module):
    """The width under another name, a required mask, and a tuple as output."""

    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, attention_mask):
        assert attention_mask is None
        return self.proj(x), None


class HalfInside(nn.Module):
    """Products in bfloat16, in the steps one by one."""

    def __init__(self, d_model):
        super().__init__()
        self.qkv = nn.Linear(d_model, 3 * d_model)

    def forward(self, x):
        q, k, v = (part.bfloat16() for part in self.qkv(x).chunk(3, -1))
        return ((q @ k.mT).tril() @ v).to(x.dtype)

    def initial_state(self, batch_size):
        width = self.qkv.in_features
        return self.qkv.weight.new_zeros(batch_size, width, width)

    def step(self, x_t, state):
        q, k, v = (part.bfloat16() for part in self.qkv(x_t).chunk(3, -1))
        state = state + k[..., None] * v[:, None]
        return torch.einsum("bd,bde->be", q.to(state.dtype), state).to(x_t.dtype), state


class HalfLeak(HalfInside):
    """It also looks ahead."""

    def forward(self, x):
        return super().forward(x) + x.flip(1)


class GrowingInSingle(nn.Module):
    """An FFT in float32, whose late outputs are many times as large as the early ones."""

    def __init__(self, d_model):
        super().__init__()
        self.rate = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        length, places = x.shape[1], torch.arange(x.shape[1], device=x.device)[:, None]
        taps, single = torch.exp(places * self.rate / 10).float(), x.float()
        n = 2 * length
        y = torch.fft.irfft(torch.fft.rfft(single, n, 1) * torch.fft.rfft(taps, n, 0), n, 1)
        return F.pad(y[:, : length - 1], (0, 0, 1, 0)).to(x.dtype) + 1e-3 * x
