"""The base of mixers with slots that are read by softmax."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from recollect.ops.slots import slot_memory, slot_memory_step


class SlotMixer(nn.Module):
    """Slots in every head; a subclass defines their inputs, `norm` and `out_proj`."""

    norm: nn.Module
    out_proj: nn.Module

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position."""
        y = slot_memory(*(z.transpose(1, 2) for z in self._memory_inputs(x)))
        return self._output(y.transpose(1, 2))

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Tensor]]:
        """Return one output and the new state: keys and values of the slots."""
        y_t, keys, values = slot_memory_step(
            *self._memory_inputs(x_t), state["keys"], state["values"]
        )
        return self._output(y_t), {"keys": keys, "values": values}

    def _memory_inputs(
        self, x: Float[Tensor, "... d_model"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values, write weights and log α, each (..., n_heads, width)."""
        raise NotImplementedError

    def _output(self, y: Float[Tensor, "... n_heads head"]) -> Float[Tensor, "... d_model"]:
        return self.out_proj(self.norm(F.silu(y.flatten(-2))))
