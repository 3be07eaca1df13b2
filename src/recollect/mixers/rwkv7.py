"""RWKV-7's time mixing (Peng et al., 2025, arXiv 2503.14456).

Every position x_t is first mixed with the previous one, channel by channel, in six ways:

    x_t^□ = x_t + (x_{t-1} - x_t) * μ_□                           for □ = r, w, k, v, a, g

    r = x^r W_r,   v = x^v W_v                                    receptance and value
    w = exp(-exp(-1/2) sigmoid(lora_w(x^w)))                      decay, at least 0.545
    a = sigmoid(lora_a(x^a))                                      in-context learning rate
    κ = x^k W_k * k_k, of unit length in every head               removal key
    k = x^k W_k * (1 + (a - 1) * k_a)                             replacement key
    y = generalized_delta_rule(r, k, v, κ, a, w)
    out = (lora_g(x^g) * (norm of every head(y) + (r · (r_k * k)) v)) W_o

lora_□(x) = f(x A) B + bias has a low rank, with f = tanh for the decay, sigmoid for the gate and
the identity for the rate. μ and the names with an underscore are those of the authors' code; the
paper writes ξ, α and ρ for k_k, k_a and r_k.

A mixer sees one layer only, so later layers do not mix their values with those of the first; every
layer works like the authors' first one. The doubled learning rate of the decay's bias is left out,
too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.ops.generalized_delta_rule import (
    generalized_delta_rule,
    generalized_delta_rule_step,
)
from recollect.ops.token_shift import token_shift

HEAD = 64
"""Width of a head in the authors' models."""


@register_mixer(
    "rwkv7", family="delta rule", title="RWKV-7", paper="2503.14456", year=2025, look=18
)
class RWKV7(nn.Module):
    """The time mixing of RWKV-7, without its channel mixing.

    Args:
        d_model: width.
        layer_idx: index of the layer, which sets the initialisation.
        n_layers: depth of the model, which also sets the initialisation.
        n_heads: number of heads; None: d_model / 64, rounded down and at least 1 (the authors' head
            width is 64).

    Raises:
        UserError: if n_heads does not divide d_model.
    """

    def __init__(
        self,
        d_model: int,
        layer_idx: int = 0,
        n_layers: int = 1,
        *,
        n_heads: int | None = None,
    ) -> None:
        super().__init__()
        n_heads = max(1, d_model // HEAD) if n_heads is None else n_heads
        head = head_width(d_model, n_heads)
        self.n_heads = n_heads
        channel = torch.arange(d_model)
        rising = channel / max(1, d_model - 1)
        in_head = 2 * (channel % head) / max(1, head - 1) - 1
        zigzag = in_head * in_head.abs()
        depth, above = layer_idx / max(1, n_layers - 1), 1 - layer_idx / n_layers

        powers = (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)
        self.mu = nn.Parameter(
            torch.stack([1 - (channel / d_model) ** (p * above) for p in powers])
        )
        self.r_proj = _orthogonal(d_model, gain=1.0)
        self.k_proj = _orthogonal(d_model, gain=0.1)
        self.v_proj = _orthogonal(d_model, gain=1.0)
        decay = -5.5 + 6 * rising ** (1 + depth**0.3) + 2.5 * zigzag
        self.w_lora = LowRank(d_model, 2.5, torch.tanh, decay)
        self.a_lora = LowRank(d_model, 2.5, nn.Identity(), -0.39 + 0.4 * rising + 0.3 * zigzag)
        self.g_lora = LowRank(d_model, 5.0, torch.sigmoid, None)
        self.k_k = nn.Parameter(0.76 - 0.1 * rising)
        self.k_a = nn.Parameter(torch.full((d_model,), 1.02))
        self.r_k = nn.Parameter(torch.full((n_heads, head), -0.04))
        self.norm = nn.GroupNorm(n_heads, d_model, eps=1e-5 * head)
        nn.init.constant_(self.norm.weight, ((1 + layer_idx) / n_layers) ** 0.7)
        self.out_proj = _orthogonal(d_model, gain=0.0)

        keep_init(self)
        no_decay(self.mu, self.w_lora, self.a_lora, self.g_lora, self.k_k, self.k_a, self.r_k)
        no_decay(self.norm)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        r, k, v, removal_key, a, log_w, gate = self._rule_inputs(x, F.pad(x, (0, 0, 1, -1)))
        y, _ = generalized_delta_rule(
            *(z.transpose(1, 2) for z in (r, k, v, removal_key, a, log_w))
        )
        return self._output(y.transpose(1, 2), r, k, v, gate)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros, and a previous input of zeros."""
        weight = self.out_proj.weight
        head = weight.shape[0] // self.n_heads
        return {
            "previous": weight.new_zeros(batch_size, weight.shape[0]),
            "memory": weight.new_zeros(batch_size, self.n_heads, head, head),
        }

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: the matrix S and the previous input."""
        r_t, k_t, v_t, removal_key_t, a_t, log_w_t, gate_t = self._rule_inputs(
            x_t, state["previous"]
        )
        y_t, memory = generalized_delta_rule_step(
            r_t, k_t, v_t, removal_key_t, a_t, state["memory"], log_w_t
        )
        # a view of x_t would keep its whole tensor alive
        new = {"previous": x_t.clone(), "memory": memory}
        return self._output(y_t, r_t, k_t, v_t, gate_t), new

    def _rule_inputs(
        self, x: Float[Tensor, "... d_model"], previous: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, ...]:
        """r, k, v, κ, a, log w and the gate, each (..., n_heads, width)."""
        x_r, x_w, x_k, x_v, x_a, x_g = token_shift(x, previous, self.mu)
        key, a = self.k_proj(x_k), self.a_lora(x_a).sigmoid()
        r, k, v, removal_key, a, log_w, gate = (
            rearrange(z, "... (h d) -> ... h d", h=self.n_heads)
            for z in (
                self.r_proj(x_r),
                key * (1 + (a - 1) * self.k_a),
                self.v_proj(x_v),
                key * self.k_k,
                a,
                -math.exp(-0.5) * self.w_lora(x_w).sigmoid(),
                self.g_lora(x_g),
            )
        )
        return r, k, v, F.normalize(removal_key, dim=-1), a, log_w, gate

    def _output(
        self,
        y: Float[Tensor, "... n_heads d"],
        r: Float[Tensor, "... n_heads d"],
        k: Float[Tensor, "... n_heads d"],
        v: Float[Tensor, "... n_heads d"],
        gate: Float[Tensor, "... n_heads d"],
    ) -> Float[Tensor, "... d_model"]:
        bonus = (r * self.r_k * k).sum(-1, keepdim=True) * v
        normed = self.norm(y.reshape(-1, self.norm.num_channels)).view(y.shape)
        return self.out_proj((gate * (normed + bonus)).flatten(-2))


class LowRank(nn.Module):
    """f(x A) B + bias, where A starts at zero.

    Args:
        d_model: width of input and output.
        factor: the rank is factor * sqrt(d_model), rounded to a multiple of 32 and at least 32.
        f: function between the two maps.
        bias: initial value of the bias; None: no bias.
    """

    def __init__(
        self,
        d_model: int,
        factor: float,
        f: Callable[[Tensor], Tensor],
        bias: Float[Tensor, " d_model"] | None,
    ) -> None:
        super().__init__()
        rank = max(32, 32 * round(factor * math.sqrt(d_model) / 32))
        self.f = f
        self.A = nn.Parameter(torch.zeros(d_model, rank))
        self.B = nn.Parameter(torch.empty(rank, d_model))
        nn.init.orthogonal_(self.B, gain=0.1 * max(1.0, math.sqrt(rank / d_model)))
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Apply both maps at each position."""
        y = self.f(x @ self.A) @ self.B
        return y if self.bias is None else y + self.bias


def _orthogonal(d_model: int, *, gain: float) -> nn.Linear:
    linear = nn.Linear(d_model, d_model, bias=False)
    nn.init.orthogonal_(linear.weight, gain=gain)
    return linear
