"""One period of a layer pattern as one mixer: a hybrid is judged as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.models.block import Block
from recollect.models.config import ModelConfig


class Layers(nn.Module):
    """The residual blocks of a language model, without embedding and head.

    Args:
        config: the recipe; `n_layers` is the length of the pattern.
        max_len: the longest input, in tokens.
    """

    def __init__(self, config: ModelConfig, max_len: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config, spec, layer_idx, max_len)
            for layer_idx, spec in enumerate(config.layer_mixers())
        )

    def forward(
        self,
        x: Float[Tensor, "batch L d_model"],
        tokens: Int64[Tensor, "batch L"],
        output_positions: Int64[Tensor, "batch Q"] | None = None,
    ) -> Float[Tensor, "batch L_or_Q d_model"]:
        """The residual stream after the last layer, at `output_positions` or at all of them."""
        last = self.blocks[-1]
        for block in self._each():
            x = block(x, tokens, output_positions if block is last else None)
        return x

    def initial_state(self, batch_size: int) -> list[Any]:
        """Every layer's."""
        return [block.initial_state(batch_size) for block in self._each()]

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: list[Any],
        token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch d_model"], list[Any]]:
        """One token through all layers."""
        new = []
        for block, block_state in zip(self._each(), state, strict=True):
            x_t, block_state = block.step(x_t, block_state, token)
            new.append(block_state)
        return x_t, new

    def _each(self) -> Iterator[Block]:
        return iter(self.blocks)  # type: ignore[arg-type]


def has_step(module: nn.Module) -> bool:
    """Whether there is a step form."""
    parts = [block.mixer for block in module.blocks] if isinstance(module, Layers) else [module]
    return all(hasattr(part, name) for part in parts for name in ("initial_state", "step"))
