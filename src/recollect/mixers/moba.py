"""Mixture of block attention, MoBA (Lu et al., 2025, arXiv 2502.13189).

    q, k, v = x W_Q, x W_K, x W_V                          in every head
    a_ts = softmax over the s <= t that t sees of q_t . k_s / sqrt(d_k)
    y_t = (sum over s of a_ts v_s) W_O

A position sees its own block, and the previous blocks whose mean keys have the largest products
with its query. The choice has no parameters and no gradient: keys learn only from queries that see
them. The authors use 3 to 12 blocks of 512 to 4,096 positions, and full attention in decoding; here
decoding chooses blocks like training.
"""

from __future__ import annotations

from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.mixers.catalogue import register_mixer
from recollect.mixers.heads import head_width
from recollect.ops.block_attention import block_attention, block_attention_step
from recollect.ops.rotary import rotary, rotary_step


@register_mixer("moba", family="attention", title="MoBA", paper="2502.13189", year=2025, look=43)
class BlockAttention(nn.Module):
    """Causal attention to a few blocks of positions.

    Up to `block_size` x `n_blocks` tokens (24 by default) a position sees all blocks: this is full
    attention.

    Args:
        d_model: width.
        rope: whether queries and keys are rotated by position (`ops.rotary`).
        n_heads: number of heads, each with its own choice of blocks.
        block_size: number of positions in a block.
        n_blocks: number of blocks that a position sees, including its own.

    Raises:
        UserError: if n_heads does not divide d_model, the width of a rotated head is odd, or a size
            is below 1.
    """

    wants_positions = True

    def __init__(
        self,
        d_model: int,
        *,
        rope: bool = False,
        n_heads: int = 1,
        block_size: int = 8,
        n_blocks: int = 3,
    ) -> None:
        super().__init__()
        head_width(d_model, n_heads, rotated=rope)
        for name, value in (("block_size", block_size), ("n_blocks", n_blocks)):
            if value < 1:
                raise UserError(f"{name}={value}: expected at least 1")
        self.n_heads, self.rope = n_heads, rope
        self.sizes = {"block_size": block_size, "n_blocks": n_blocks}
        self.qkv_proj = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        q, k, v = rearrange(self.qkv_proj(x), "b l (n h d) -> n b h l d", n=3, h=self.n_heads)
        if self.rope:
            q, k = rotary(q), rotary(k)
        y = block_attention(q, k, v, **self.sizes)
        return self.out_proj(rearrange(y, "b h l d -> b l (h d)"))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: no keys and values, position 0."""
        weight = self.out_proj.weight
        none_yet = weight.new_zeros(batch_size, self.n_heads, 0, weight.shape[0] // self.n_heads)
        return {"position": 0, "keys": none_yet, "values": none_yet}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new state: all keys and values so far."""
        position = state["position"]
        q_t, k_t, v_t = rearrange(self.qkv_proj(x_t), "b (n h d) -> n b h d", n=3, h=self.n_heads)
        if self.rope:
            q_t, k_t = rotary_step(q_t, position), rotary_step(k_t, position)
        y_t, keys, values = block_attention_step(
            q_t, k_t, v_t, state["keys"], state["values"], **self.sizes
        )
        new = {"position": position + 1, "keys": keys, "values": values}
        return self.out_proj(rearrange(y_t, "b h d -> b (h d)")), new
