"""The base of mixers with a delta rule: projections, short convolution, heads, norm and gate.

    q, k, v = SiLU(short convolution(x W_q, x W_k, x W_v)), q and k of unit length in every head
    β = sigmoid(x W_b), or twice that
    y = RMSNorm(delta_rule(q, k, v, β)) W_o             or (RMSNorm(...) * gate(x W_g)) W_o
    α = exp(-exp(A_log) softplus(x W_a + dt_bias))      the decay of a head, if there is one

The authors' code also divides queries by the square root of their width. The norm undoes this only
where the mean square of its input is far above its eps, 1e-5. With the small initial weights of the
recipe it is not: layers start louder than the authors', whose outputs start far below 1.
In their language models the convolution starts like the linear maps, from N(0, 0.02^2); here, as in
their layer alone, it starts like PyTorch's `Conv1d`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.heads import head_width
from recollect.mixers.marks import keep_init, no_decay
from recollect.mixers.short_conv import ShortConv
from recollect.mixers.step_sizes import inverse_softplus, random_log_dt
from recollect.ops import forms
from recollect.ops.delta_rule import delta_rule, delta_rule_step


@dataclass(frozen=True)
class RuleInputs:
    """The arguments of `delta_rule`.

    Queries and decays are (..., heads, width); the others hold the heads of all steps,
    (..., steps * heads, width), β without the width.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    beta: Tensor
    log_decay: Tensor | None = None
    erase_key: Tensor | None = None


class DeltaMixer(nn.Module):
    """A delta rule in every head.

    Args:
        d_model: width.
        n_heads: number of heads, each with its own state.
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.
        output_gate: whether a gate computed from the input multiplies the output.
        steps: how many keys and values each token writes.
        negative_eigenvalues: whether β reaches 2, not 1: the state's transition is then a
            reflection at most, not a projection (Grazzi et al., 2024, arXiv 2411.12537).

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v or steps is below 1.
    """

    gate: Callable[[Tensor], Tensor] = staticmethod(F.silu)
    read_first: ClassVar[bool] = False
    """Whether the old value is read before the state decays, as in `delta_rule`."""

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int,
        expand_v: int,
        qkv_conv: int,
        output_gate: bool,
        steps: int = 1,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        for name, number in (("expand_v", expand_v), ("steps", steps)):
            if number < 1:
                raise UserError(f"{name}={number}: expected at least 1")
        self.n_heads, self.steps = n_heads, steps
        self.negative_eigenvalues = negative_eigenvalues
        self.widths = [d_model, steps * d_model, steps * expand_v * d_model]  # of q, k, v
        self.qkv_proj = nn.Linear(d_model, sum(self.widths), bias=False)
        self.qkv_conv = ShortConv(sum(self.widths), qkv_conv, bias=False) if qkv_conv else None
        self.b_proj = nn.Linear(d_model, steps * n_heads, bias=False)
        self.norm = nn.RMSNorm(expand_v * head, eps=1e-5)
        self.g_proj: nn.Module | None = None
        if output_gate:
            self.g_proj = nn.Linear(d_model, expand_v * d_model, bias=False)
        self.out_proj = nn.Linear(expand_v * d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        qkv = self.qkv_proj(x)
        if self.qkv_conv is not None:
            qkv = self.qkv_conv(qkv)
        given = self._rule_inputs(qkv, x)
        y, _ = delta_rule(
            given.q.transpose(1, 2),
            self._steps_in_turn(given.k),
            self._steps_in_turn(given.v),
            self._steps_in_turn(given.beta),
            None if given.log_decay is None else given.log_decay.transpose(1, 2),
            None if given.erase_key is None else self._steps_in_turn(given.erase_key),
            read_first=self.read_first,
        )
        return self._output(y.transpose(1, 2), x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: zeros."""
        d_model, all_values = self.out_proj.weight.shape
        d_k, d_v = d_model // self.n_heads, all_values // self.n_heads
        empty = self.out_proj.weight.new_zeros(batch_size, self.n_heads, d_k, d_v)
        state: dict[str, Any] = {"memory": empty}
        if self.qkv_conv is not None:
            state["qkv_conv"] = self.qkv_conv.initial_state(batch_size)
        return state

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: S, and the last inputs of the convolution."""
        new: dict[str, Any] = {}
        qkv = self.qkv_proj(x_t)
        if self.qkv_conv is not None:
            qkv, new["qkv_conv"] = self.qkv_conv.step(qkv, state["qkv_conv"])
        given = self._rule_inputs(qkv, x_t)
        y_t, memory, log_decay = given.q, state["memory"], given.log_decay
        for i in range(self.steps):
            of_step = slice(i * self.n_heads, (i + 1) * self.n_heads)
            y_t, memory = delta_rule_step(
                given.q,
                given.k[:, of_step],
                given.v[:, of_step],
                given.beta[:, of_step],
                memory,
                log_decay,
                None if given.erase_key is None else given.erase_key[:, of_step],
                read_first=self.read_first,
            )
            log_decay = None  # a token decays the memory once
        return self._output(y_t, x_t), new | {"memory": memory}

    def _rule_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> RuleInputs:
        q, k, v = (
            rearrange(part, "... (h d) -> ... h d", h=heads)
            for part, heads in zip(
                F.silu(qkv).split(self.widths, dim=-1),
                (self.n_heads, self.steps * self.n_heads, self.steps * self.n_heads),
                strict=True,
            )
        )
        beta = self.b_proj(x).sigmoid()
        if self.negative_eigenvalues:
            beta = 2 * beta
        return RuleInputs(unit_length(q), unit_length(k), v, beta)

    def _steps_in_turn(
        self, z: Float[Tensor, "batch L steps_heads ..."]
    ) -> Float[Tensor, "batch heads L_steps ..."]:
        """Move the heads to the front, and put the steps of each token next to each other."""
        return rearrange(z, "b l (n h) ... -> b h (l n) ...", n=self.steps)

    def _output(
        self, y: Float[Tensor, "... n_heads d_v"], x: Float[Tensor, "... d_model"]
    ) -> Float[Tensor, "... d_model"]:
        y = self.norm(y).flatten(-2)
        return self.out_proj(y if self.g_proj is None else y * self.gate(self.g_proj(x)))


class DecayingDeltaMixer(DeltaMixer):
    """A delta rule with the decay of Mamba-2 in every head.

    Args:
        d_model: width.
        n_heads: as in `DeltaMixer`.
        expand_v: as in `DeltaMixer`.
        qkv_conv: as in `DeltaMixer`.
        output_gate: as in `DeltaMixer`.
        steps: as in `DeltaMixer`.
        negative_eigenvalues: as in `DeltaMixer`.
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int,
        expand_v: int,
        qkv_conv: int,
        output_gate: bool,
        steps: int = 1,
        negative_eigenvalues: bool = False,
    ) -> None:
        super().__init__(
            d_model,
            n_heads=n_heads,
            expand_v=expand_v,
            qkv_conv=qkv_conv,
            output_gate=output_gate,
            steps=steps,
            negative_eigenvalues=negative_eigenvalues,
        )
        self.a_proj = nn.Linear(d_model, n_heads, bias=False)
        # at the start, when it hardly depends on the input, the decay is between 0.2 and 1
        self.A_log = nn.Parameter(torch.empty(n_heads).uniform_(0, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(random_log_dt(n_heads).exp()))
        keep_init(self.A_log, self.dt_bias)
        no_decay(self.A_log, self.dt_bias)

    def _rule_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> RuleInputs:
        log_decay = -self.A_log.exp() * F.softplus(self.a_proj(x) + self.dt_bias)
        return replace(super()._rule_inputs(qkv, x), log_decay=log_decay[..., None])


def unit_length(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Return vectors divided by their length.

    The small term, from the authors' code, keeps the gradient finite at zero. On a GPU the norm by
    the mean square does the same in one kernel.
    """
    if forms.form_for(x) != "cpu":
        d = x.shape[-1]
        return F.rms_norm(x, (d,), eps=1e-6 / d) * d**-0.5
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
