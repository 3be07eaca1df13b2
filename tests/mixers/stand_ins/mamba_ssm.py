"""Mixers that are built and called as those of the package mamba-ssm, which needs a GPU."""

import torch
from torch import nn


class Mamba(nn.Module):
    """The sum of all tokens so far and the token before; each is a tensor of the state."""

    def __init__(self, d_model, headdim=64, layer_idx=None, device=None, dtype=None):
        super().__init__()
        assert 2 * d_model % headdim == 0
        self.headdim, self.layer_idx = headdim, layer_idx
        self.proj = nn.Linear(d_model, d_model, device=device, dtype=dtype)

    def forward(self, hidden_states):
        x = self.proj(hidden_states)
        return x.cumsum(1) + torch.nn.functional.pad(x, (0, 0, 1, -1))

    def step(self, hidden_states, before, total):
        assert hidden_states.shape[1] == 1
        y = self._read(hidden_states.squeeze(1), before, total)
        return y.unsqueeze(1), before, total

    def _read(self, x_t, before, total):
        x_t = self.proj(x_t)
        y = total.add_(x_t) + before
        before.copy_(x_t)
        return y

    def allocate_inference_cache(self, batch_size, max_seqlen, dtype=None):
        assert max_seqlen > 0
        new = self.proj.weight.new_zeros
        return tuple(new(batch_size, self.proj.out_features, dtype=dtype) for _ in range(2))


class Mamba2(Mamba):
    def forward(self, u, seqlen=None):
        assert seqlen is None
        return super().forward(u)


class Mamba3(Mamba2):
    def step(self, u, before, total):
        assert u.ndim == 2
        return self._read(u, before, total), before, total
