"""Log-linear Gated DeltaNet (Guo et al., 2025, arXiv 2506.04761): Gated DeltaNet with a separate
state for each block of the past; blocks have doubling lengths.

    S_t,j = α_t (I - β_t k_t k_t') S_{t-1},j for the state of block j; a new block starts with
    β_t k_t v_t'
    y_t = sum over j of λ_t,j S_t,j' q_t,   λ = softplus(l * (x W_l))

Everything else is as in Gated DeltaNet. The state grows with the logarithm of the length.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.delta_mixer import DecayingDeltaMixer
from recollect.mixers.level_weights import LevelWeights, level_count
from recollect.ops.log_linear import log_linear, log_linear_step


@register_mixer(
    "log-linear-gated-delta-net",
    family="delta rule",
    title="Log-linear Gated DeltaNet",
    paper="2506.04761",
    year=2025,
    look=42,
)
class LogLinearGatedDeltaNet(DecayingDeltaMixer):
    """Gated DeltaNet with separate states for the recent and the distant past.

    The weights of levels beyond the trained length are not trained (`mixers.level_weights`).

    Args:
        d_model: width.
        max_len: longest length, in tokens.
        n_heads: number of heads, each with its own states.
        expand_v: total width of the values, in multiples of d_model; that of the keys is d_model.
        qkv_conv: width of the short convolution on queries, keys and values; 0: none.

    Raises:
        UserError: if n_heads does not divide d_model, or expand_v is below 1.
    """

    length_weights = staticmethod(level_count)

    def __init__(
        self,
        d_model: int,
        max_len: int,
        *,
        n_heads: int = 2,
        expand_v: int = 2,
        qkv_conv: int = 4,
    ) -> None:
        super().__init__(
            d_model, n_heads=n_heads, expand_v=expand_v, qkv_conv=qkv_conv, output_gate=True
        )
        self.levels = LevelWeights(d_model, n_heads, max_len)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position.

        Raises:
            UserError: if the sequence is longer than `max_len`.
        """
        self.levels.check(x.shape[1])
        qkv = self.qkv_proj(x)
        if self.qkv_conv is not None:
            qkv = self.qkv_conv(qkv)
        inputs = self._log_linear_inputs(qkv, x)
        y = log_linear(*(z.transpose(1, 2) for z in inputs))
        return self._output(y.transpose(1, 2), x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no blocks."""
        state: dict[str, Any] = {"memories": {}}
        if self.qkv_conv is not None:
            state["qkv_conv"] = self.qkv_conv.initial_state(batch_size)
        return state

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: a matrix per block, and the convolution's inputs.

        Raises:
            UserError: if `max_len` tokens were read before.
        """
        self.levels.check_next(state["memories"])
        new: dict[str, Any] = {}
        qkv = self.qkv_proj(x_t)
        if self.qkv_conv is not None:
            qkv, new["qkv_conv"] = self.qkv_conv.step(qkv, state["qkv_conv"])
        q_t, k_t, v_t, log_decay_t, scales_t, beta_t = self._log_linear_inputs(qkv, x_t)
        y_t, new["memories"] = log_linear_step(
            q_t, k_t, v_t, log_decay_t, scales_t, state["memories"], beta_t
        )
        return self._output(y_t, x_t), new

    def _log_linear_inputs(
        self, qkv: Float[Tensor, "... channels"], x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, ...]:
        """q, k, v (..., n_heads, width), log α (..., n_heads), λ (..., n_heads, levels), and β."""
        given = self._rule_inputs(qkv, x)
        assert given.log_decay is not None
        log_decay = given.log_decay.squeeze(-1)
        return given.q, given.k, given.v, log_decay, self.levels(x), given.beta
