"""TTT-Linear: the state is a linear model, trained on the tokens so far (Sun et al., 2024,
arXiv 2407.04620).

    q, k, v = x W_Q, x W_K, x W_V, q and k rotated by their place in a mini-batch of 16
    rate = sigmoid(x W_lr + b_lr) / d,   share_i = max(1 / i + c_i, 0) at the i-th place
    ℓ(W, b; k, v) = |LN(k W + b) - (v - k)|² / 2
    (W, b)_t = (W, b) at the mini-batch's start - share_t sum of rate_s dℓ_s/d(W, b) since then
    y = LayerNorm(q + LN(q W_t + b_t)) W_O

The initial W and b are learned. This is the default layer of the authors' code, without the
convolution and the gate of their Mamba backbone. Dimensions: d width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init
from recollect.ops import forms
from recollect.ops.chunks import in_chunks
from recollect.ops.rotary import rotary, rotary_step
from recollect.ops.ttt import Learner, ttt_linear, ttt_linear_step


@register_mixer(
    "ttt-linear", family="delta rule", title="TTT-Linear", paper="2407.04620", year=2024, look=40
)
class TTTLinear(nn.Module):
    """A linear model in every head that learns to map keys to values.

    Args:
        d_model: width.
        n_heads: number of heads, each with its own linear model.
        mini_batch: number of positions whose gradients are taken at the same weights.

    Raises:
        UserError: if n_heads does not divide d_model, the width of a head is odd, or mini_batch is
            below 1.
    """

    def __init__(self, d_model: int, *, n_heads: int = 2, mini_batch: int = 16) -> None:
        super().__init__()
        head = head_width(d_model, n_heads, rotated=True)
        if mini_batch < 1:
            raise UserError(f"mini_batch={mini_batch}: expected at least 1")
        self.n_heads, self.mini_batch = n_heads, mini_batch
        self.qkv_proj = nn.Linear(d_model, 3 * d_model, bias=False)
        self.lr_proj = nn.Linear(d_model, n_heads)
        self.share = nn.Parameter(torch.zeros(mini_batch))
        self.weight = nn.Parameter(torch.empty(n_heads, head, head))
        nn.init.normal_(self.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(n_heads, head))
        self.norm_weight = nn.Parameter(torch.ones(n_heads, head))
        self.norm_bias = nn.Parameter(torch.zeros(n_heads, head))
        keep_init(self.share, self.weight, self.bias, self.norm_weight, self.norm_bias)
        self.norm = nn.LayerNorm(d_model, eps=1e-6)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        q, k, v, rate = (z.transpose(1, 2) for z in self._learner_inputs(x))
        y = ttt_linear(
            self._rotated(q),
            self._rotated(k),
            v,
            rate,
            self._shares(),
            (self.weight, self.bias),
            (self.norm_weight, self.norm_bias),
        )
        return self.out_proj(self.norm(rearrange(y, "b h l d -> b l (h d)")))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: the initial W and b, and zero gradients."""
        weight, bias = (
            z.detach().expand(batch_size, *z.shape).clone() for z in (self.weight, self.bias)
        )
        none = torch.zeros_like(weight), torch.zeros_like(bias)
        return Learner(weight, bias, *none, 0)._asdict()

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: W, b, and the sums of their gradients."""
        learner = Learner(**state)
        q_t, k_t, v_t, rate_t = self._learner_inputs(x_t)
        q_t, k_t = rotary_step(q_t, learner.place), rotary_step(k_t, learner.place)
        norm = self.norm_weight, self.norm_bias
        y_t, learner = ttt_linear_step(q_t, k_t, v_t, rate_t, self._shares(), learner, norm)
        return self.out_proj(self.norm(y_t.flatten(1))), learner._asdict()

    def _learner_inputs(
        self, x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries and keys before rotation, values (..., n_heads, d); rates (..., n_heads)."""
        q, k, v = (
            rearrange(z, "... (h d) -> ... h d", h=self.n_heads)
            for z in self.qkv_proj(x).chunk(3, dim=-1)
        )
        return q, k, v, self.lr_proj(x).sigmoid() / q.shape[-1]

    def _rotated(self, z: Float[Tensor, "batch n_heads L d"]) -> Float[Tensor, "batch n_heads L d"]:
        """Rotate queries or keys by their place in the mini-batch.

        Off the CPU all mini-batches are rotated at once, which takes fewer launches.
        """
        if forms.form_for(z) != "cpu":
            rotated = rotary(in_chunks(z, self.mini_batch, dim=-2))
            return rotated.flatten(-3, -2)[..., : z.shape[-2], :]
        return torch.cat([rotary(part) for part in z.split(self.mini_batch, dim=-2)], dim=-2)

    def _shares(self) -> Float[Tensor, " places"]:
        places = torch.arange(1, self.mini_batch + 1, device=self.share.device)
        return (1 / places + self.share).clamp(min=0)
