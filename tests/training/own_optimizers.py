"""Optimisers of a user's, by functions at the top level of a file."""

import torch
from torch import nn

from recollect.training.optimizer import parameter_groups


def rms(model, config):
    return torch.optim.RMSprop(parameter_groups(model, config))


def two_rates(model, config):
    """The head ten times faster than all else."""
    head = list(model.embedding.parameters())
    rest = [p for p in model.parameters() if p is not head[0]]
    return torch.optim.SGD(
        [{"params": rest}, {"params": head, "lr": 10 * config.learning_rate}],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )


class Counting(torch.optim.SGD):
    """Its steps shrink by a number that is neither in its state nor in its groups."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            group["lr"] /= self.steps
        super().step(closure)


def counting(model, config):
    return Counting(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


def fixed_rate(model, config):
    return torch.optim.SGD(model.parameters(), lr=0.123)


def no_decay(model, config):
    return torch.optim.Adam(model.parameters(), lr=config.learning_rate, betas=config.betas)


def no_betas(model, config):
    return torch.optim.AdamW(parameter_groups(model, config))


def closure(model, config):
    return torch.optim.LBFGS(model.parameters(), lr=config.learning_rate)


def leaves_out(model, config):
    return torch.optim.SGD(model.blocks.parameters(), lr=config.learning_rate)


def decays_all(model, config):
    return torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.1)


def changes_weights(model, config):
    nn.init.zeros_(model.embedding.weight)
    return torch.optim.SGD(model.parameters(), lr=config.learning_rate)


def nothing(model, config):
    return nn.Linear(1, 1)


def raises(model, config):
    raise ZeroDivisionError("a bug")
