"""Attention at selected positions, Zoology's remedy for convolutions (arXiv 2312.04927, section 5).

    y_t = g_t attention(x)_t

A selected position looks at all before it; elsewhere the output is zero. Which positions are
selected is told from the past alone:

- programmatic: g_t = 1 where the token occurred before, so that recall may be due;
- learned: g_t = sigmoid(x_t . w), in training at all positions, with a penalty on their mean; in
  evaluation where this score is among the best so far;
- random: g_t = 1 where a number drawn once for every position is among the best so far;
- all: g_t = 1.

The public code takes the best scores of the whole sequence, and so reads the future.
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
    """Says how much every position takes part; this one: all wholly."""

    def forward(
        self, x: Float[Tensor, "batch L d_model"], tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L"]:
        """The gates g."""
        return x.new_ones(tokens.shape)

    def initial_state(self, _nothing: Float[Tensor, "batch 0"]) -> Any:
        """Initial state, of the type and device of `_nothing`."""
        return None

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: Any, token: Int64[Tensor, " batch"]
    ) -> tuple[Float[Tensor, " batch"], Any]:
        """The gate of one position, and what is known after it."""
        return x_t.new_ones(token.shape), state

    def auxiliary_loss(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, ""]:
        """What training adds to the loss."""
        return x.new_zeros(())


class RepeatedTokens(Selector):
    """The positions whose token occurred before.

    Args:
        filler: a token that is taken never to have occurred.
    """

    def __init__(self, filler: int | None) -> None:
        super().__init__()
        self.filler = filler

    def forward(
        self, x: Float[Tensor, "batch L d_model"], tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L"]:
        """1 where it did."""
        return (previous_occurrence(tokens, self.filler) >= 0).to(x.dtype)

    def initial_state(self, nothing: Float[Tensor, "batch 0"]) -> Int64[Tensor, "batch 0"]:
        """No tokens."""
        return nothing.long()

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: Int64[Tensor, "batch n"],
        token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], Int64[Tensor, "batch m"]]:
        """One position; the state is the tokens so far."""
        gate = previous_occurrence_step(token, state, self.filler) >= 0
        return gate.to(x_t.dtype), torch.cat([state, token[:, None]], dim=1)


class BestScores(Selector):
    """The positions that a linear map scores highest.

    Args:
        d_model: width.
        share: of the positions so far; None: their root.
        penalty: weight of the auxiliary loss.
    """

    def __init__(self, d_model: int, share: float | None, penalty: float) -> None:
        super().__init__()
        self.share, self.penalty = share, penalty
        self.score_proj = nn.Linear(d_model, 1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch L d_model"], _tokens: Int64[Tensor, "batch L"]
    ) -> Float[Tensor, "batch L"]:
        """The scores, in evaluation zero where they are not among the best so far."""
        scores = self._scores(x)
        gates = scores.sigmoid()
        return gates if self.training else gates * among_best(scores, self.share)

    def initial_state(self, nothing: Float[Tensor, "batch 0"]) -> Float[Tensor, "batch 0"]:
        """No scores."""
        return nothing

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: Float[Tensor, "batch n"],
        _token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch m"]]:
        """One position; the state is the scores so far."""
        score = self._scores(x_t)
        gate = score.sigmoid()
        if not self.training:
            gate = gate * among_best_step(score, state, self.share)
        return gate, torch.cat([state, score[:, None]], dim=1)

    def auxiliary_loss(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, ""]:
        """The excess of a sequence's mean gate over the share that evaluation lets through."""
        allowed = number_of_best(x.shape[1], self.share) / x.shape[1]
        excess = self._scores(x).sigmoid().mean(1) - allowed
        return self.penalty * excess.relu().mean()

    def _scores(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, ...]:
        # a matrix product may round equal rows differently, but equal positions are to tie
        return (x * self.score_proj.weight[0]).sum(-1)


class RandomPositions(Selector):
    """The same positions in every sequence.

    Args:
        max_len: longest length, in tokens.
        share: of the positions so far; None: their root.
        seed: of the choice.
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
        """1 at the chosen positions.

        Raises:
            UserError: for a length above `max_len`.
        """
        self._check(tokens.shape[1])
        return self.chosen[: tokens.shape[1]].to(x.dtype).expand(tokens.shape)

    def initial_state(self, _nothing: Float[Tensor, "batch 0"]) -> int:
        """Position 0."""
        return 0

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: int, token: Int64[Tensor, " batch"]
    ) -> tuple[Float[Tensor, " batch"], int]:
        """One position; the state is its place.

        Raises:
            UserError: for a place at or above `max_len`.
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
    """Attention whose output is zero but at selected positions.

    It is computed at all positions and dropped elsewhere: this shows what a selection can recall,
    not how fast it could be.

    Args:
        d_model: width.
        max_len: longest length, in tokens.
        layer_idx: which of the layers this is; each draws random positions of its own.
        rope: whether queries and keys are rotated by their position (`ops.rotary`).
        n_heads: number of heads.
        selection: "programmatic", "learned", "random" or "all".
        filler: for "programmatic", a token that is taken never to have occurred; None: there is
            none. In a model, that of the task if not given.
        share: for "learned" and "random", how much of the positions so far is selected; None: their
            root.
        penalty: for "learned", weight of the auxiliary loss.
        seed: for "random", of the draw.

    Raises:
        UserError: as `Attention`, and for an unknown selection, a share that is none, or a negative
            penalty.
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
        """Selected positions from all up to them."""
        return self.attention(x) * self.selector(x, tokens)[..., None]

    def auxiliary_loss(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, ""]:
        """What training adds to the loss: for "learned" the penalty, for others 0."""
        return self.selector.auxiliary_loss(x)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Attention's and the selection's."""
        nothing = self.attention.out_proj.weight.new_zeros(batch_size, 0)
        return {
            "attention": self.attention.initial_state(batch_size),
            "selection": self.selector.initial_state(nothing),
        }

    def step(
        self,
        x_t: Float[Tensor, "batch d_model"],
        state: dict[str, Any],
        token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """One position; the state is attention's and what the selection knows of the past."""
        y_t, attention = self.attention.step(x_t, state["attention"])
        gate, selection = self.selector.step(x_t, state["selection"], token)
        return y_t * gate[:, None], {"attention": attention, "selection": selection}
