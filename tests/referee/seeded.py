"""Mixers whose weights or outputs do not follow from the seed of a trial alone, and sound ones."""

import random

import numpy as np
import torch
from sound import WithoutStep
from torch import nn

MADE_ONCE = nn.Linear(8, 8)


class SharesADefault(WithoutStep):
    """The default argument is one module for all instances."""

    def __init__(self, d_model, proj=MADE_ONCE):
        super().__init__(d_model)
        self.first = proj

    def forward(self, x):
        return self.average(self.first(x))


class SharesABuffer(WithoutStep):
    """A constant that all instances share is no weight."""

    TABLE = torch.ones(8)

    def __init__(self, d_model):
        super().__init__(d_model)
        self.register_buffer("table", self.TABLE)


class SetsTheSeed(WithoutStep):
    def __init__(self, d_model):
        torch.manual_seed(0)
        super().__init__(d_model)


class SetsTheSeedInForward(WithoutStep):
    """The same random features in each call."""

    def forward(self, x):
        torch.manual_seed(0)
        return self.average(x @ torch.randn(x.shape[2], x.shape[2], dtype=x.dtype))


class SetsAForkedSeed(WithoutStep):
    """The same without a trace in the generators outside."""

    def forward(self, x):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            features = torch.randn(x.shape[2], x.shape[2], dtype=x.dtype)
        return self.average(x @ features)


class NumPyWeights(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        nn.init.constant_(self.average.proj.bias, np.random.rand())  # noqa: NPY002


class PythonLayerDrop(WithoutStep):
    """In training, the layer is left out at random."""

    def forward(self, x):
        return self.average(x) * (not self.training or random.random() > 0.3)


class TorchLayerDrop(WithoutStep):
    """The same with PyTorch's random numbers."""

    def forward(self, x):
        return self.average(x) * (not self.training or torch.rand(()) > 0.3)
