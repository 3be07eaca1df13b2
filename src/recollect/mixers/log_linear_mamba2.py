"""Log-linear Mamba-2 (Guo et al., 2025, arXiv 2506.04761): Mamba-2 with a separate state for each
block of the past; blocks have doubling lengths.

    S_t,j = a_t S_{t-1},j for the state of block j; a new block starts with B_t (dt_t x_t)^T
    y_t = sum over j of λ_t,j C_t S_t,j + D x_t,   λ = softplus(l * (u W_l))

Everything else is as in Mamba-2. The state grows with the logarithm of the length.
"""

from __future__ import annotations

from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.level_weights import LevelWeights, level_count
from recollect.mixers.mamba2 import Mamba2
from recollect.mixers.marks import keep_init
from recollect.ops.log_linear import log_linear, log_linear_step


@register_mixer(
    "log-linear-mamba2",
    family="outer-product memory",
    title="Log-linear Mamba-2",
    paper="2506.04761",
    year=2025,
    look=41,
)
class LogLinearMamba2(Mamba2):
    """Mamba-2 with separate states for the recent and the distant past.

    The weights of levels beyond the trained length are not trained (`mixers.level_weights`).

    Args:
        d_model: width.
        max_len: longest length, in tokens.
        n_layers: depth of the model; the initial `out_proj` is divided by its square root.
        d_state: width of B and C, the number of rows of a head's states.
        d_conv: width of the short convolution on x, B and C; 0: none, but the SiLU stays.
        expand: width of x in multiples of d_model.
        head_dim: width of x in one head; None: 64, or the width of x if that is less.

    Raises:
        UserError: if head_dim does not divide the width of x.
    """

    length_weights = staticmethod(level_count)

    def __init__(
        self,
        d_model: int,
        max_len: int,
        n_layers: int = 1,
        *,
        d_state: int = 128,
        d_conv: int = 4,
        expand: int = 2,
        head_dim: int | None = None,
    ) -> None:
        super().__init__(
            d_model,
            n_layers,
            d_state=d_state,
            d_conv=d_conv,
            expand=expand,
            head_dim=head_dim,
        )
        self.levels = LevelWeights(d_model, self.A_log.numel(), max_len)
        keep_init(self.levels)

    def forward(self, u: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position.

        Raises:
            UserError: if the sequence is longer than `max_len`.
        """
        self.levels.check(u.shape[1])
        z, x_b_c, dt = self._project(u)
        if self.conv1d is not None:
            x_b_c = self.conv1d(x_b_c)
        x, *memory_inputs = self._memory_inputs(x_b_c, dt)
        q, k, v, log_decay, scales = (m.movedim(1, -2) for m in (*memory_inputs, self._scales(u)))
        y = log_linear(q, k, v, log_decay.squeeze(-1), scales)
        return self._output(y.movedim(-2, 1), x, z)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no blocks, and zeros for the convolution."""
        state = super().initial_state(batch_size)
        del state["memory"]
        return state | {"memories": {}}

    def step(
        self, u_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: a matrix per block, and the convolution's inputs.

        Raises:
            UserError: if `max_len` tokens were read before.
        """
        self.levels.check_next(state["memories"])
        new: dict[str, Any] = {}
        z, x_b_c, dt = self._project(u_t)
        if self.conv1d is not None:
            x_b_c, new["conv"] = self.conv1d.step(x_b_c, state["conv"])
        x, q_t, k_t, v_t, log_decay_t = self._memory_inputs(x_b_c, dt)
        y_t, new["memories"] = log_linear_step(
            q_t, k_t, v_t, log_decay_t.squeeze(-1), self._scales(u_t), state["memories"]
        )
        return self._output(y_t, x, z), new

    def _scales(self, u: Float[Tensor, "... d_model"]) -> Float[Tensor, "... g h levels"]:
        return rearrange(self.levels(u), "... (g h) l -> ... g h l", g=self.n_groups)
