"""Attention at selected positions, for hybrids with convolutions (arXiv 2312.04927, section 5).

    y_t = g_t attention(x)_t

A selected position attends to all positions up to itself; elsewhere the output is zero. The
selection depends only on the past:

- programmatic: g_t = 1 if the token occurred before, so recall may be needed;
- learned: g_t = sigmoid(x_t . w). In training it acts at all positions, with a penalty on its mean;
  in evaluation only where the score is among the best so far;
- random: g_t = 1 where a number, drawn once for each position, is among the best so far;
- all: g_t = 1.

The paper's public code takes the best scores of the whole sequence, which looks ahead. It also adds
the mixer's input to its output, and its penalty acts on the mean over the batch; here it acts on
the mean of each sequence.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.errors import UserError, unknown
from recollect.mixers.attention import Attention
from recollect.mixers.catalogue import register_mixer
from recollect.ops.occurrence import previous_occurrence, previous_occurrence_step
from recollect.ops.selection import among_best, among_best_step, number_of_best
from recollect.seeding import derive_seed


class Selector(nn.Module):
    """The gates g of all positions; in this base class all are 1."""

    def forward(
        self, x: Float[Tensor, "batch L d_model"], tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L"]:
        """Return the gates g."""
        return x.new_ones(tokens.shape)

    def initial_state(self, _like: Float[Tensor, "batch 0"]) -> Any:
        """Return the state before the first token, with the type and device of `_like`."""
        return None

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: Any, token: Int64[Tensor, " batch"]
    ) -> tuple[Float[Tensor, " batch"], Any]:
        """Return the gate of one token, and the new state."""
        return x_t.new_ones(token.shape), state

    def auxiliary_loss(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, ""]:
        """Return the term that training adds to the loss."""
        return x.new_zeros(())


class RepeatedTokens(Selector):
    """Select the positions whose token occurred before.

    Args:
        filler: a token that counts as never having occurred.
    """

    def __init__(self, filler: int | None) -> None:
        super().__init__()
        self.filler = filler

    def forward(
        self, x: Float[Tensor, "batch L d_model"], tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L"]:
        """Return 1 where the token occurred before, else 0."""
        return (previous_occurrence(tokens, self.filler) >= 0).to(x.dtype)

    def initial_state(self, like: Float[Tensor, "batch 0"]) -> Int64[Tensor, "batch 0"]:
        """Return the state before the first token: no tokens."""
        return like.long()

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: Int64[Tensor, "batch n"],
        token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], Int64[Tensor, "batch m"]]:
        """Return the gate of one token and the new state, all tokens so far."""
        gate = previous_occurrence_step(token, state, self.filler) >= 0
        return gate.to(x_t.dtype), torch.cat([state, token[:, None]], dim=1)


class BestScores(Selector):
    """Select the positions with the highest scores of a linear map.

    Args:
        d_model: width.
        share: fraction of the positions so far; None: the square root of their number.
        penalty: weight of the auxiliary loss.
    """

    def __init__(self, d_model: int, share: float | None, penalty: float) -> None:
        super().__init__()
        self.share, self.penalty = share, penalty
        self.score_proj = nn.Linear(d_model, 1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch L d_model"], _tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L"]:
        """Return the gates; in evaluation they are 0 unless the score is among the best so far."""
        scores = self._scores(x)
        gates = scores.sigmoid()
        return gates if self.training else gates * among_best(scores, self.share)

    def initial_state(self, like: Float[Tensor, "batch 0"]) -> Float[Tensor, "batch 0"]:
        """Return the state before the first token: no scores."""
        return like

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: Float[Tensor, "batch n"],
        _token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch m"]]:
        """Return the gate of one token and the new state, all scores so far."""
        score = self._scores(x_t)
        gate = score.sigmoid()
        if not self.training:
            gate = gate * among_best_step(score, state, self.share)
        return gate, torch.cat([state, score[:, None]], dim=1)

    def auxiliary_loss(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, ""]:
        """Return the penalty on mean gates above the fraction selected in evaluation."""
        allowed = number_of_best(x.shape[1], self.share) / x.shape[1]
        excess = self._scores(x).sigmoid().mean(1) - allowed
        return self.penalty * excess.relu().mean()

    def _scores(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, ...]:
        # equal inputs must have equal scores, but a matrix product may round them differently
        return (x * self.score_proj.weight[0]).sum(-1)


class RandomPositions(Selector):
    """Select random positions, the same in every sequence.

    Args:
        max_len: longest length, in tokens.
        share: fraction of the positions so far; None: the square root of their number.
        seed: seed of the choice.
    """

    chosen: Tensor

    def __init__(self, max_len: int, share: float | None, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        chosen = among_best(torch.rand(max_len, generator=generator), share)
        self.register_buffer("chosen", chosen, persistent=False)

    def forward(
        self, x: Float[Tensor, "batch L d_model"], tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L"]:
        """Return 1 at the chosen positions, else 0.

        Raises:
            UserError: if the sequence is longer than `max_len`.
        """
        self._check(tokens.shape[1])
        return self.chosen[: tokens.shape[1]].to(x.dtype).expand(tokens.shape)

    def initial_state(self, _like: Float[Tensor, "batch 0"]) -> int:
        """Return the state before the first token: position 0."""
        return 0

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: int, token: Int64[Tensor, " batch"]
    ) -> tuple[Float[Tensor, " batch"], int]:
        """Return the gate of one token and the new state, the next position.

        Raises:
            UserError: if `max_len` tokens were read before.
        """
        self._check(state + 1)
        return self.chosen[state].to(x_t.dtype).expand(token.shape), state + 1

    def _check(self, length: int) -> None:
        if length > len(self.chosen):
            raise UserError(
                f"a sequence of {length} tokens, but positions were drawn for {len(self.chosen)};"
                " build the model with a larger max_len"
            )


SELECTIONS = ("all", "programmatic", "learned", "random")


@register_mixer(
    "sparse-attention",
    family="attention",
    title="Sparse attention",
    paper="2312.04927",
    year=2023,
    look=14,
    looks_back=False,
)
class SparseAttention(nn.Module):
    """Attention with output only at selected positions; elsewhere the output is zero.

    It is computed at all positions and then masked: it measures how well a selection recalls, not
    how fast it could be.

    Args:
        d_model: width.
        max_len: longest length, in tokens.
        layer_idx: index of the layer; each layer draws its own random positions.
        rope: whether queries and keys are rotated by position (`ops.rotary`).
        n_heads: number of heads.
        selection: "programmatic", "learned", "random" or "all".
        filler: for "programmatic", a token that counts as never having occurred; None: no such
            token. A model sets it to the task's filler if it is not set.
        share: for "learned" and "random", the fraction of the positions so far that is selected;
            None: the square root of their number.
        penalty: for "learned", weight of the auxiliary loss.
        seed: for "random", seed of the choice.

    Raises:
        UserError: as in `Attention`, and if selection is unknown, share is outside of (0, 1], or
            penalty is negative.
    """

    wants_positions = True

    def __init__(
        self,
        d_model: int,
        max_len: int,
        layer_idx: int = 0,
        *,
        rope: bool = False,
        n_heads: int = 1,
        selection: str = "programmatic",
        filler: int | None = None,
        share: float | None = None,
        penalty: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if share is not None and not 0 < share <= 1:
            raise UserError(f"share={share}: expected above 0 and at most 1, or None")
        if penalty < 0:
            raise UserError(f"penalty={penalty}: expected at least 0")
        self.attention = Attention(d_model, rope=rope, n_heads=n_heads)
        if selection == "programmatic":
            self.selector: Selector = RepeatedTokens(filler)
        elif selection == "learned":
            self.selector = BestScores(d_model, share, penalty)
        elif selection == "random":
            draw = derive_seed(seed, "random positions", layer_idx)
            self.selector = RandomPositions(max_len, share, draw)
        elif selection == "all":
            self.selector = Selector()
        else:
            raise unknown("selection", selection, SELECTIONS)

    def forward(
        self, x: Float[Tensor, "batch L d_model"], tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L d_model"]:
        """Return the output at every position, 0 where it is not selected."""
        return self.attention(x) * self.selector(x, tokens)[..., None]

    def auxiliary_loss(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, ""]:
        """Return the term that training adds to the loss: the penalty of "learned", else 0."""
        return self.selector.auxiliary_loss(x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the initial states of attention and selection."""
        like = self.attention.out_proj.weight.new_zeros(batch_size, 0)
        return {
            "attention": self.attention.initial_state(batch_size),
            "selection": self.selector.initial_state(like),
        }

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: dict[str, Any],
        token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return one output and the new states of attention and selection."""
        y_t, attention = self.attention.step(x_t, state["attention"])
        gate, selection = self.selector.step(x_t, state["selection"], token)
        return y_t * gate[:, None], {"attention": attention, "selection": selection}
