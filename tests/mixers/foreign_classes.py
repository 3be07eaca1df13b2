"""Classes as other libraries write them."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import nn


class Recurrent(nn.Module):
    """The sum of all inputs so far, which is also the state."""

    def __init__(self, dim: int, scale: float = 1.0):
        super().__init__()
        self.proj, self.scale = nn.Linear(dim, dim), scale

    def forward(self, x, prev=None, return_state=False):
        sums = self.scale * self.proj(x).cumsum(1) + (0 if prev is None else prev)
        return (sums, sums[:, -1:]) if return_state else sums


class FromBase(Recurrent):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)


@dataclass
class Sizes:
    hidden_size: int
    num_hidden_layers: int
    heads: int = 2


class FromConfig(nn.Module):
    def __init__(self, config: Sizes, layer_id: int):
        super().__init__()
        self.built = config, layer_id
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states, attention_mask):
        assert attention_mask is None
        return self.proj(hidden_states), None


class FromFields(FromConfig):
    def __init__(self, config, layer_id):
        super().__init__(Sizes(config.n_embd, config.n_layer, config.n_head), layer_id)


class TwoWidths(nn.Module):
    def __init__(self, dim: int, head_dim: int, heads: int = 2):
        super().__init__()
        self.proj = nn.Linear(dim, heads * head_dim)
        self.out = nn.Linear(heads * head_dim, dim)

    def forward(self, x):
        return self.out(self.proj(x))


class OwnStep(nn.Module):
    """A step form without initial state."""

    def __init__(self, d_model: int):
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.proj(x).cumsum(1)

    def step(self, x_t, state):
        new = state + self.proj(x_t)
        return new, new


def zeros(module, batch_size):
    return module.proj.weight.new_zeros(batch_size, module.proj.out_features)


class Caching(nn.Module):
    """Changes its cache in place."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.proj = nn.Linear(hidden_size, hidden_size)

    def forward(self, x, cache=None):
        sums = self.proj(x).cumsum(1)
        if cache is not None:
            sums = sums + getattr(cache, "sums", 0)
            cache.sums = sums[:, -1:]
        return sums


class Cache(SimpleNamespace):
    pass


def doubled(module, x):
    """A function to call instead of `forward`."""
    return 2 * module.proj(x).cumsum(1)


def numbered(module, x, position):
    return module.proj(x) * torch.cos(position)[..., None]


class Positioned(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, position_ids):
        return numbered(self, x, position_ids.to(x.dtype))
