"""Mixers with a fault on a rare path: in training's backward pass, at random, in some batches."""

import torch
import torch.nn.functional as F
from hidden_paths import following
from sound import WithoutStep


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
