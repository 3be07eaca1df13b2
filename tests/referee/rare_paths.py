"""Mixers with a fault on a rare path: in training's backward pass, at random, in some batches."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from hidden_paths import following
from sound import Average, WithoutStep
from torch import nn


class Ahead(torch.autograd.Function):
    """The identity, whose gradient reaches the next input."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient + F.pad(gradient, (0, 0, 1, -1))


class GradientAheadInTraining(WithoutStep):
    def forward(self, x):
        return self.average(Ahead.apply(x) if self.training else x)


class GradientAheadInSingle(WithoutStep):
    def forward(self, x):
        return self.average(Ahead.apply(x) if x.dtype == torch.float32 else x)


class GradientAheadUnderAutocast(WithoutStep):
    def forward(self, x):
        return self.average(Ahead.apply(x) if torch.is_autocast_enabled("cpu") else x)


class SometimesAhead(WithoutStep):
    """One pass of training in five looks ahead."""

    def forward(self, x):
        y = self.average(x)
        return y + following(x) if self.training and torch.rand(()) < 0.2 else y


class MixesPairs(WithoutStep):
    """In batches of an even size, each row reads the other one of its pair."""

    def forward(self, x):
        y = self.average(x)
        return y if len(x) % 2 else y + y.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


class MixesAtRandom(WithoutStep):
    """One pass of training in five adds the mean of all rows."""

    def forward(self, x):
        y = self.average(x)
        return y + y.mean(0) if self.training and torch.rand(()) < 0.2 else y


class Centred(torch.autograd.Function):
    """The identity, whose gradient is centred over rows."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient - gradient.mean(0)


class MixesGradientsInTraining(WithoutStep):
    def forward(self, x):
        return self.average(Centred.apply(x) if self.training else x)


class StepMixesMany(Average):
    """Steps of eight rows and more mix them."""

    def step(self, x_t, state):
        y_t, state = super().step(x_t, state)
        return y_t + (y_t.mean(0) if len(y_t) >= 8 else 0), state


class GrowsInTraining(WithoutStep):
    """Its outputs grow with the number of passes in training, which no buffer counts."""

    passes = 0

    def forward(self, x):
        self.passes += self.training
        return self.average(x) * (1 + self.passes if self.training else 1)


class KeepsWeightsOfAll(WithoutStep):
    """Without gradients, all of its instances use the weights of the first."""

    kept: ClassVar = {}

    def forward(self, x):
        if torch.is_grad_enabled():
            return self.average(x)
        weight = self.kept.setdefault((x.dtype, x.shape[2]), self.average.proj.weight.clone())
        counts = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
        return F.linear(x.cumsum(1) / counts[:, None], weight, self.average.proj.bias)


class Halved(torch.autograd.Function):
    """The identity with half of the gradient."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient / 2


class HalvedInTraining(WithoutStep):
    def forward(self, x):
        return self.average(Halved.apply(x) if self.training else x)


class HalvedInSingle(WithoutStep):
    def forward(self, x):
        return self.average(Halved.apply(x) if x.dtype == torch.float32 else x)


class TwiceInSingle(WithoutStep):
    def forward(self, x):
        return self.average(x) * (2 if x.dtype == torch.float32 else 1)


class AheadAlone(WithoutStep):
    """In training, with dropout, a single row looks ahead."""

    def forward(self, x):
        y = F.dropout(self.average(x), 0.1, self.training)
        return y + following(x) if self.training and len(x) == 1 else y


class CountsInEvaluation(WithoutStep):
    """It counts the tokens that it has read, and turns after many."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.seen += x.shape[1]
        return self.average(x) * (-1 if self.seen > 10**6 else 1)


class LearnsBesides(WithoutStep):
    """Its scale is trained by an auxiliary loss alone."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.scale = nn.Parameter(torch.ones(()))

    def auxiliary_loss(self, x):
        return (self.scale - x.square().mean()).square()


class ListsLosses(LearnsBesides):
    def auxiliary_loss(self, x):
        return self.scale * x.mean((1, 2))
