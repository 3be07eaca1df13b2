"""DeltaNet and Gated DeltaNet: linear attention that replaces what it holds at a key.

    q, k, v = SiLU(short convolution(x W_q, x W_k, x W_v)), q and k of length 1 in every head
    β = sigmoid(x W_b)
    y = RMSNorm(delta_rule(q, k, v, β)) W_o

Gated DeltaNet lets the memory decay, and gates what it gives:

    α = exp(-exp(A_log) softplus(x W_a + dt_bias))
    y = (RMSNorm(delta_rule(q, k, v, β, α)) * SiLU(x W_g)) W_o

The authors' code divides queries by the root of their width, which the norm undoes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.mixers.step_sizes import inverse_softplus, random_log_dt
from recollect.ops.delta_rule import delta_rule, delta_rule_step


@register_mixer("delta-net", family="delta rule", title="DeltaNet", paper="2406.06484", year=2024)
class DeltaNet(nn.Module):
    """The delta rule on convolved, normalised keys (Yang et al., 2024, arXiv 2406.06484).

    Args:
        d_model: width.
        n_heads: number of heads, each with a memory of its own.
        expand_v: width of all values together in multiples of d_model; the keys have d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        output_gate: whether the input gates the output.

    Raises:
        UserError: for a width that the heads do not divide, or values of no width.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        expand_v: int = 1,
        qkv_conv: int = 4,
        output_gate: bool = False,
    ) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        if expand_v < 1:
            raise UserError(f"expand_v={expand_v}: expected at least 1")
        self.n_heads = n_heads
        self.widths = [d_model, d_model, expand_v * d_model]  # of q, k, v
        self.qkv_proj = nn.Linear(d_model, sum(self.widths), bias=False)
        self.qkv_conv = ShortConv(sum(self.widths), qkv_conv, bias=False) if qkv_conv else None
        self.b_proj = nn.Linear(d_model, n_heads, bias=False)
        self.norm = nn.RMSNorm(expand_v * head, eps=1e-5)
        self.g_proj = nn.Linear(d_model, expand_v * d_model, bias=False) if output_gate else None
        self.out_proj = nn.Linear(expand_v * d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Each position from what the memory holds after it."""
        qkv = self.qkv_proj(x)
        if self.qkv_conv is not None:
            qkv = self.qkv_conv(qkv)
        y, _ = delta_rule(*(z.transpose(1, 2) for z in self._rule_inputs(qkv, x)))
        return self._output(y.transpose(1, 2), x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """An empty memory."""
        d_k, d_v = self.widths[1] // self.n_heads, self.widths[2] // self.n_heads
        empty = self.out_proj.weight.new_zeros(batch_size, self.n_heads, d_k, d_v)
        state: dict[str, Any] = {"memory": empty}
        if self.qkv_conv is not None:
            state["qkv_conv"] = self.qkv_conv.initial_state(batch_size)
        return state

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """One position; the state is the memory, and the last inputs of the convolution."""
        new: dict[str, Any] = {}
        qkv = self.qkv_proj(x_t)
        if self.qkv_conv is not None:
            qkv, new["qkv_conv"] = self.qkv_conv.step(qkv, state["qkv_conv"])
        q_t, k_t, v_t, beta_t, *others = self._rule_inputs(qkv, x_t)
        y_t, new["memory"] = delta_rule_step(q_t, k_t, v_t, beta_t, state["memory"], *others)
        return self._output(y_t, x_t), new

    def _rule_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, ...]:
        """For `delta_rule`: queries, keys, values (..., n_heads, width) and β (..., n_heads)."""
        q, k, v = (
            rearrange(part, "... (h d) -> ... h d", h=self.n_heads)
            for part in F.silu(qkv).split(self.widths, dim=-1)
        )
        return _of_length_1(q), _of_length_1(k), v, self.b_proj(x).sigmoid()

    def _output(
        self, y: Float[Tensor, "... n_heads d_v"], x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        y = self.norm(y).flatten(-2)
        return self.out_proj(y if self.g_proj is None else y * F.silu(self.g_proj(x)))


@register_mixer(
    "gated-delta-net",
    family="delta rule",
    title="Gated DeltaNet",
    paper="2412.06464",
    year=2024,
)
class GatedDeltaNet(DeltaNet):
    """DeltaNet with the decay of Mamba-2 and an output gate (Yang et al., 2024, arXiv 2412.06464).

    Args:
        d_model: width.
        n_heads: number of heads, each with a memory of its own.
        expand_v: width of all values together in multiples of d_model; the keys have d_model (the
            authors' language models take 3/2 and 3/4).
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        output_gate: whether the input gates the output.

    Raises:
        UserError: for a width that the heads do not divide, or values of no width.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        expand_v: int = 2,
        qkv_conv: int = 4,
        output_gate: bool = True,
    ) -> None:
        super().__init__(
            d_model,
            n_heads=n_heads,
            expand_v=expand_v,
            qkv_conv=qkv_conv,
            output_gate=output_gate,
        )
        self.a_proj = nn.Linear(d_model, n_heads, bias=False)
        # the decay of a position, before it learns to depend on it, is between 0.2 and 1
        self.A_log = nn.Parameter(torch.empty(n_heads).uniform_(0, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(random_log_dt(n_heads).exp()))
        keep_init(self.A_log, self.dt_bias)
        no_decay(self.A_log, self.dt_bias)

    def _rule_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, ...]:
        """Those of DeltaNet, and log α (..., n_heads, 1)."""
        log_decay = -self.A_log.exp() * F.softplus(self.a_proj(x) + self.dt_bias)
        return *super()._rule_inputs(qkv, x), log_decay[..., None]


def _of_length_1(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    # the small term, the authors', keeps the gradient at zero finite
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
