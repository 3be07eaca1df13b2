"""Mixers with what must not be in one that runs on a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Planted(nn.Module):
    """A linear map, and the plant."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)


class CopiesToTheHost(Planted):
    def forward(self, x: Tensor) -> Tensor:
        scale = x.detach().abs().amax(-1, keepdim=True)
        return self.linear(x) / scale.cpu().to(x.device)


class AsksForANumber(Planted):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) / (1 + self.linear.weight.detach().abs().max().item())


class ChoosesByAMask(Planted):
    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y + y[x > 0].sum() if y.numel() else y


class HoldsAConstant(Planted):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * torch.linspace(0, 1, x.shape[1])[:, None]


class CountsOnTheHost(Planted):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * float(x.detach().sum().numpy())


class NeedsTheProcessor(Planted):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + torch.histogram(x.detach(), 4)[0].sum()


class SumsUpHalves(Planted):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(self.linear(x).bfloat16(), 1).float()


PLANTED: dict[type[nn.Module], str] = {
    CopiesToTheHost: "copy to cpu",
    AsksForANumber: "item",
    ChoosesByAMask: "a mask as index|dynamic shape",
    HoldsAConstant: "same device",
    CountsOnTheHost: "numpy",
    NeedsTheProcessor: "histogram",
}


class Loops(nn.Module):
    """A sum over the past, some tokens at a time."""

    def __init__(self, d_model: int, every: int = 1) -> None:
        super().__init__()
        self.linear, self.every = nn.Linear(d_model, d_model), every

    def forward(self, x: Tensor) -> Tensor:
        total, outputs = x.new_zeros(len(x), 1, x.shape[2]), []
        for part in self.linear(x).split(self.every, dim=1):
            sums = part.cumsum(1) + total
            total = sums[:, -1:]
            outputs.append(sums)
        return torch.cat(outputs, dim=1)


class CallsAttention(Planted):
    """Nothing is planted here: PyTorch's attention, as users' mixers call it."""

    def forward(self, x: Tensor) -> Tensor:
        q = self.linear(x)[:, None]
        return F.scaled_dot_product_attention(q, x[:, None], q, is_causal=True)[:, 0]
