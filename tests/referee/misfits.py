"""Causal mixers with other faults."""

import random

import torch
import torch.nn.functional as F
from sound import WithoutStep
from torch import nn


class BatchStatistics(WithoutStep):
    """In training, every position is normalised over the rows."""

    def forward(self, x):
        return self.average(x - x.mean(0) if self.training else x)


class BatchSize(WithoutStep):
    def forward(self, x):
        return self.average(x) / x.shape[0]


class BatchSizeInTraining(WithoutStep):
    def forward(self, x):
        return self.average(x) * x.shape[0] if self.training else self.average(x)


class LengthInside(WithoutStep):
    """The scale depends on the length."""

    def forward(self, x):
        return self.average(x) / x.shape[1]


class HiddenLimit(WithoutStep):
    """A fixed limit of 64 positions."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.positions = nn.Parameter(torch.randn(64, d_model))

    def forward(self, x):
        return self.average(x) + self.positions[: x.shape[1]]


class SilentLimit(WithoutStep):
    """Beyond `max_len` all positions are treated alike."""

    def __init__(self, d_model, max_len):
        super().__init__(d_model)
        self.positions = nn.Parameter(torch.randn(max_len, d_model))

    def forward(self, x):
        positions = torch.arange(x.shape[1]).clamp(max=len(self.positions) - 1)
        return self.average(x) + self.positions[positions]


class WrongError(SilentLimit):
    """A limit that PyTorch reports, not the mixer."""

    def forward(self, x):
        return self.average(x) + self.positions[: x.shape[1]]


class ForgottenPast(WithoutStep):
    """Beyond `max_len` it forgets all earlier inputs."""

    def __init__(self, d_model, max_len):
        super().__init__(d_model)
        self.max_len = max_len

    def forward(self, x):
        return torch.cat([self.average(part) for part in x.split(self.max_len, 1)], 1)


class WholeChunks(WithoutStep):
    """It only takes multiples of 32."""

    def forward(self, x):
        return self.average(x.unflatten(1, (-1, 32)).flatten(1, 2))


class Halved(WithoutStep):
    def forward(self, x):
        return self.average(x)[..., : x.shape[-1] // 2]


class Named(WithoutStep):
    def forward(self, x):
        return {"output": self.average(x)}


class OtherType(WithoutStep):
    def forward(self, x):
        return self.average(x).double()


class NotFinite(WithoutStep):
    def forward(self, x):
        y = self.average(x)
        y[:, 5:6] = y[:, 5:6] / 0
        return y


class Overwriting(WithoutStep):
    def forward(self, x):
        return self.average(x.mul_(2))


class OverwritingUntrained(WithoutStep):
    def forward(self, x):
        if not torch.is_grad_enabled():
            x *= 2
        return self.average(x)


class RaisingUntrained(WithoutStep):
    def forward(self, x):
        if not torch.is_grad_enabled():
            raise RuntimeError("no kernel for inference")
        return self.average(x)


class Raising(WithoutStep):
    def forward(self, x):
        raise RuntimeError(f"no kernel for {x.device}\nsecond line")


class Unbuildable(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.lost = d_model / 0


class Idle(WithoutStep):
    """A parameter that nothing reads."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.idle = nn.Parameter(torch.randn(d_model))


class Cut(WithoutStep):
    """A parameter behind a rounding."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.scale = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        return self.average(x) * self.scale.round()


class InfiniteSlope(WithoutStep):
    """A root at zero, where it starts."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.scale = nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        return self.average(x) * self.scale.square().sqrt()


class Detached(WithoutStep):
    def forward(self, x):
        return self.average(x).detach()


class OtherDice(WithoutStep):
    """Randomness that no seed controls."""

    def forward(self, x):
        return self.average(x) * random.SystemRandom().random()


class OtherWeights(WithoutStep):
    """The same at construction."""

    def __init__(self, d_model):
        super().__init__(d_model)
        nn.init.constant_(self.average.proj.bias, random.SystemRandom().random())


class EverlastingDropout(WithoutStep):
    """Dropout that does not end with training."""

    def forward(self, x):
        return self.average(F.dropout(x, 0.1))


class Remembering(WithoutStep):
    """One call affects the next."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.average(x) * self.calls
