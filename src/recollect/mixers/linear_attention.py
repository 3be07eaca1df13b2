"""Linear attention: φ(q) . φ(k) replaces softmax's exp(q . k), and one matrix holds the past.

    y_t = sum over s <= t of w_ts v_s / (sum over s <= t of w_ts + eps),   w_ts = φ(q_t) . φ(k_s)

The sum of the weights is one more column of the state.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.ops.feature_maps import elu_features
from recollect.ops.outer_product import (
    append_ones,
    divide_by_ones,
    outer_product_memory,
    outer_product_memory_step,
)


class FeatureAttention(nn.Module):
    """Linear attention with the features of a subclass.

    Args:
        d_model: width.
        n_heads: number of heads.
        key_dim: width of one head's queries and keys before the feature map; None: the width of
            its values.
        bias: whether the linear maps have biases.
        eps: added to the sum of the weights.

    Raises:
        UserError: if n_heads does not divide d_model.
    """

    def __init__(
        self, d_model: int, *, n_heads: int, key_dim: int | None, bias: bool, eps: float
    ) -> None:
        super().__init__()
        head = head_width(d_model, n_heads)
        key_dim = head if key_dim is None else key_dim
        self.n_heads, self.eps = n_heads, eps
        self.q_proj = nn.Linear(d_model, n_heads * key_dim, bias=bias)
        self.k_proj = nn.Linear(d_model, n_heads * key_dim, bias=bias)
        self.v_proj = nn.Linear(d_model, d_model, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)

    def features(self, x: Float[Tensor, "... key_dim"]) -> Float[Tensor, "... D"]:
        """Return φ(x)."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        q, k, v = (z.transpose(1, 2) for z in self._memory_inputs(x))
        return self._output(outer_product_memory(q, k, v).transpose(1, 2))

    def initial_state(self, batch_size: int) -> Float[Tensor, "batch n_heads D columns"]:
        """Return the state before the first token: zeros."""
        d_model, channels = self.k_proj.weight.shape[1], self.k_proj.weight.shape[0]
        n_features = self.features(self.k_proj.weight.new_zeros(channels // self.n_heads)).numel()
        columns = d_model // self.n_heads + 1
        return self.k_proj.weight.new_zeros(batch_size, self.n_heads, n_features, columns)

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: Float[Tensor, "batch n_heads D columns"],
    ) -> tuple[Float[Tensor, "batch d_model"], Float[Tensor, "batch n_heads D columns"]]:
        """Return one output and the new state, the matrix S."""
        y_t, state = outer_product_memory_step(*self._memory_inputs(x_t), state)
        return self._output(y_t), state

    def _memory_inputs(self, x: Float[Tensor, "... d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """Features of queries and keys (..., n_heads, D), values (..., n_heads, columns)."""
        q, k, v = (
            rearrange(projection(x), "... (h d) -> ... h d", h=self.n_heads)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.features(q), self.features(k), append_ones(v)

    def _output(self, y: Float[Tensor, "... n_heads columns"]) -> Float[Tensor, "... d_model"]:
        return self.out_proj(divide_by_ones(y, self.eps).flatten(-2))


@register_mixer(
    "linear-attention",
    family="outer-product memory",
    title="Linear attention",
    paper="2006.16236",
    year=2020,
    look=11,
    looks_back=False,
)
class LinearAttention(FeatureAttention):
    """Linear attention with φ(x) = elu(x) + 1 (Katharopoulos et al., 2020, arXiv 2006.16236).

    Args:
        d_model: width.
        n_heads: number of heads.

    Raises:
        UserError: if n_heads does not divide d_model.
    """

    def __init__(self, d_model: int, *, n_heads: int = 1) -> None:
        super().__init__(d_model, n_heads=n_heads, key_dim=None, bias=True, eps=1e-6)

    def features(self, x: Float[Tensor, "... key_dim"]) -> Float[Tensor, "... D"]:
        """Return elu(x) + 1."""
        return elu_features(x)
