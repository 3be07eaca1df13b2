"""HGRN2: a gated recurrence with a matrix state (Qin et al., 2024, arXiv 2404.07904).

    q = SiLU(x W_q),   i = x W_i,   f = γ + (1 - γ) sigmoid(x W_f)
    S_t = diag(f_t) S_{t-1} + (1 - f_t) i_t^T
    y = RMSNorm(S^T q) W_o

γ, the lower bound of a channel's decay, is 0 in the first layer and rises with depth. The authors
learn the bounds of all layers together, as cumulative sums of a softmax over depth. Here each layer
learns its own bound, because a mixer sees one layer only; it starts at the authors' initial value,
i / n in layer i of n.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.marks import keep_init, no_decay
from recollect.ops.outer_product import outer_product_memory, outer_product_memory_step

EXPAND = 128
"""Width of a head in the authors' models."""


@register_mixer(
    "hgrn2",
    family="outer-product memory",
    title="HGRN2",
    paper="2404.07904",
    year=2024,
    look=24,
    looks_back=False,
)
class HGRN2(nn.Module):
    """Linear attention with a forget gate f per key channel, and 1 - f as keys.

    Args:
        d_model: width.
        layer_idx: index of the layer, which sets the initial bound of the forget gate.
        n_layers: depth of the model, which also sets that bound.
        expand_ratio: width of a head and number of rows of its state; None: 128, or d_model if
            that is less.

    Raises:
        UserError: if expand_ratio does not divide d_model.
    """

    def __init__(
        self,
        d_model: int,
        layer_idx: int = 0,
        n_layers: int = 1,
        *,
        expand_ratio: int | None = None,
    ) -> None:
        super().__init__()
        width = min(EXPAND, d_model) if expand_ratio is None else expand_ratio
        if width < 1 or d_model % width:
            raise UserError(f"expand_ratio={width}: expected a divisor of d_model={d_model}")
        self.n_heads = d_model // width
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.f_proj = nn.Linear(d_model, d_model, bias=False)
        self.i_proj = nn.Linear(d_model, d_model, bias=False)
        self.lower_bound: nn.Parameter | None = None  # its logits
        if layer_idx:
            start = layer_idx / n_layers
            self.lower_bound = nn.Parameter(torch.full((d_model,), math.log(start / (1 - start))))
            keep_init(self.lower_bound)
            no_decay(self.lower_bound)
        self.norm = nn.RMSNorm(d_model, eps=1e-5)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        y = outer_product_memory(*(z.transpose(1, 2) for z in self._memory_inputs(x)))
        return self._output(y.transpose(1, 2))

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch n_heads head head"]:
        """Return the state before the first token: zeros."""
        weight = self.out_proj.weight
        head = weight.shape[0] // self.n_heads
        return weight.new_zeros(batch_size, self.n_heads, head, head)

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: Float[Tensor, "batch n_heads head head"]
    ) -> tuple[Float[Tensor, "batch d_model"], Float[Tensor, "batch n_heads head head"]]:
        """Return one output and the new state, the matrix S."""
        q_t, k_t, v_t, log_decay_t = self._memory_inputs(x_t)
        y_t, state = outer_product_memory_step(q_t, k_t, v_t, state, log_decay_t)
        return self._output(y_t), state

    def _memory_inputs(
        self, x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values and log f (..., n_heads, width)."""
        log_f = F.logsigmoid(self.f_proj(x))
        if self.lower_bound is not None:
            log_f = torch.logaddexp(
                F.logsigmoid(self.lower_bound), F.logsigmoid(-self.lower_bound) + log_f
            )
        q, k, v, log_f = (
            rearrange(z, "... (h d) -> ... h d", h=self.n_heads)
            for z in (F.silu(self.q_proj(x)), -torch.expm1(log_f), self.i_proj(x), log_f)
        )
        return q, k, v, log_f

    def _output(self, y: Float[Tensor, "... n_heads head"]) -> Float[Tensor, "... d_model"]:
        return self.out_proj(self.norm(y.flatten(-2)))
