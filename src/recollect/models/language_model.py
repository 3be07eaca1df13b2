"""The language model around the mixers: embedding, blocks, head at the supervised positions."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from recollect.errors import UserError
from recollect.models.block import Block, make_norm
from recollect.models.config import ModelConfig
from recollect.models.init import initialise
from recollect.ops.cross_entropy import linear_cross_entropy
from recollect.ops.dropout import dropout
from recollect.seeding import generator_seed


class LanguageModel(nn.Module):
    """Pre-norm residual blocks between an embedding and a head.

    Args:
        config: the recipe.
        vocab_size: number of token ids.
        max_len: the longest input, in tokens.
        seed: seed of the initialisation; nothing else influences the weights.

    Raises:
        UserError: if a mixer cannot be built, or has a lazy parameter without a shape.
    """

    def __init__(self, config: ModelConfig, *, vocab_size: int, max_len: int, seed: int) -> None:
        super().__init__()
        self.config = config
        self.max_len = max_len
        with torch.random.fork_rng(devices=[]):
            # weights are drawn on the CPU, so other devices' generators are not needed
            torch.default_generator.manual_seed(generator_seed(seed))
            self.embedding = nn.Embedding(vocab_size, config.d_model)
            self.position_embedding = (
                nn.Embedding(max_len, config.d_model) if config.learned_positions else None
            )
            self.blocks = nn.ModuleList(
                Block(config, spec, layer_idx, max_len)
                for layer_idx, spec in enumerate(config.layer_mixers())
            )
            _refuse_lazy(self.blocks)
            self.norm = make_norm(config.head_norm or config.norm, config.d_model)
            self.head = nn.Linear(config.d_model, vocab_size, bias=False)
            if config.tie_embedding:
                self.head.weight = self.embedding.weight
            initialise(self, [layer.mixer for layer in self.layers], config.init)

    @property
    def layers(self) -> list[Block]:
        """The blocks, from the first."""
        return [cast(Block, block) for block in self.blocks]

    def forward(
        self, inputs: Int64[Tensor, "batch L"], positions: Int64[Tensor, "batch Q"] | None = None
    ) -> Float[Tensor, "batch Q vocab"]:
        """Return logits at `positions`, or at all positions (Q = L).

        Raises:
            UserError: if the input is longer than `max_len`.
        """
        return self.head(self.hidden(inputs, positions))

    def hidden(
        self, inputs: Int64[Tensor, "batch L"], positions: Int64[Tensor, "batch Q"] | None = None
    ) -> Float[Tensor, "batch Q d_model"]:
        """Return the inputs of the head, at `positions` or at all positions.

        Raises:
            UserError: if the input is longer than `max_len`.
        """
        return self._run(inputs, positions)[0]

    def _run(
        self, inputs: Int64[Tensor, "batch L"], positions: Int64[Tensor, "batch Q"] | None
    ) -> tuple[Float[Tensor, "batch Q d_model"], Float[Tensor, ""]]:
        """The inputs of the head, and the mixers' term of the training loss."""
        length = inputs.shape[1]
        if length > self.max_len:
            raise UserError(
                f"an input of {length} tokens, but the model was built for {self.max_len};"
                " build it with a larger max_len"
            )
        x = self.embedding(inputs)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[:length]
        if self.training and self.config.dropout:
            x = dropout(x, self.config.dropout)
        auxiliary_loss = x.new_zeros(())
        for block in self.layers:
            auxiliary_loss = auxiliary_loss + block.auxiliary_loss(x)
            x = block(x, inputs, positions if block is self.blocks[-1] else None)
        return self.norm(x), auxiliary_loss

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token: the position, and every layer's state."""
        return {"position": 0, "blocks": [block.initial_state(batch_size) for block in self.layers]}

    def step(
        self, tokens: Int64[Tensor, " batch"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "batch vocab"], dict[str, Any]]:
        """Return the logits after one more token, and the new state.

        The given state is not modified.

        Raises:
            UserError: if `max_len` tokens were read before.
        """
        position = state["position"]
        if position >= self.max_len:
            raise UserError(
                f"a token at position {position}, but the model was built for {self.max_len}"
                " tokens; build it with a larger max_len"
            )
        x = self.embedding(tokens)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[position]
        new = []
        for block, block_state in zip(self.layers, state["blocks"], strict=True):
            x, block_state = block.step(x, block_state, tokens)
            new.append(block_state)
        return self.head(self.norm(x)), {"position": position + 1, "blocks": new}

    def loss(
        self,
        inputs: Int64[Tensor, "batch L"],
        positions: Int64[Tensor, "batch Q"] | None,
        targets: Int64[Tensor, "batch Q"],
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy, in nats, over the supervised positions.

        In training, the mixers' auxiliary losses are added to it.
        """
        hidden, auxiliary_loss = self._run(inputs, positions)
        rows, targets = hidden.flatten(0, 1), targets.flatten()
        return linear_cross_entropy(rows, self.head.weight, targets) + auxiliary_loss


def _refuse_lazy(blocks: nn.ModuleList) -> None:
    """Refuse lazy parameters: without a shape they can be neither initialised nor counted."""
    for name, tensor in (*blocks.named_parameters(), *blocks.named_buffers()):
        if is_lazy(tensor):
            raise UserError(
                f"blocks.{name} gets its shape from the first input, as in nn.LazyLinear: create it"
                " with its full shape in the mixer's constructor, as nn.Linear(d_model, d_model)"
                " does"
            )
