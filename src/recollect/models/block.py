"""A residual block: norm and mixer, then norm and MLP if the recipe has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.errors import UserError, summary
from recollect.mixers.canon import Canon
from recollect.mixers.catalogue import MixerSpec
from recollect.mixers.short_conv import ShortConv
from recollect.models.calling import (
    call_auxiliary_loss,
    call_forward,
    call_initial_state,
    call_step,
    takes_positions,
)

if TYPE_CHECKING:
    from recollect.models.config import ModelConfig

NormKind = Literal["layernorm", "rmsnorm"]


class MLP(nn.Module):
    """Two linear maps with a GELU between them, or SwiGLU (Shazeer, 2020, arXiv 2002.05202).

    With a Canon layer before the activation, a position also depends on the three before it.
    """

    def __init__(self, d_model: int, kind: str, *, canon: bool = False) -> None:
        super().__init__()
        self.gated = kind == "swiglu"
        # three maps with 8/3 d_model have as many weights as the two of GELU with 4 d_model
        hidden = -(-8 * d_model // 3) if self.gated else 4 * d_model
        inner = hidden * (2 if self.gated else 1)
        self.in_proj = nn.Linear(d_model, inner)
        self.canon = Canon(inner) if canon else None
        self.out_proj = nn.Linear(hidden, d_model)

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Apply the MLP; without a Canon layer, at each position on its own."""
        hidden = self.in_proj(x)
        return self._activated(hidden if self.canon is None else self.canon(hidden))

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return the state of the Canon layer, if there is one."""
        return {} if self.canon is None else {"canon": self.canon.initial_state(batch_size)}

    def step(
        self, x_t: Float[Tensor, "batch d_model"], state: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Tensor]]:
        """Return one output and the new state."""
        hidden, new = self.in_proj(x_t), {}
        if self.canon is not None:
            hidden, new["canon"] = self.canon.step(hidden, state["canon"])
        return self._activated(hidden), new

    def _activated(self, hidden: Float[Tensor, "... inner"]) -> Float[Tensor, "... d_model"]:
        if self.gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            return self.out_proj(F.silu(gate) * hidden)
        return self.out_proj(F.gelu(hidden))


class Block(nn.Module):
    """One layer: `mix` moves information between positions, `feed` works at each position.

    A Canon layer at the MLP makes `feed` move information too.

    Args:
        config: the recipe.
        spec: the mixer of this layer.
        layer_idx: index of the layer, from 0.
        max_len: longest length, in tokens.

    Raises:
        UserError: if the mixer's constructor raises.
    """

    def __init__(self, config: ModelConfig, spec: MixerSpec, layer_idx: int, max_len: int) -> None:
        super().__init__()
        d_model = config.d_model
        self.norm = make_norm(config.norm, d_model)
        self.canon = Canon(d_model) if "A" in config.canon else None
        self.short_conv = ShortConv(d_model, config.short_conv) if config.short_conv else None
        self.mixer = _build(
            spec,
            d_model=d_model,
            max_len=max_len,
            layer_idx=layer_idx,
            n_layers=config.n_layers,
            rope=config.positions == "rope",
            qkv_canon="B" in config.canon,
        )
        self.mlp_norm = make_norm(config.norm, d_model) if config.mlp else None
        self.mlp_canon = Canon(d_model) if "C" in config.canon else None
        self.mlp = _make_mlp(config) if config.mlp else None

    def forward(
        self,
        x: Float[Tensor, "batch L d_model"],
        tokens: Int64[Tensor, "batch L"],
        positions: Int64[Tensor, "batch Q"] | None = None,
    ) -> Float[Tensor, "batch L_or_Q d_model"]:
        """Return the residual stream after mixer and MLP, at `positions` or at all positions."""
        if positions is None or not self._feed_looks_back:
            return self.feed(self.mix(x, tokens, positions))
        return _at(self.feed(self.mix(x, tokens)), positions)

    def mix(
        self,
        x: Float[Tensor, "batch L d_model"],
        tokens: Int64[Tensor, "batch L"],
        positions: Int64[Tensor, "batch Q"] | None = None,
    ) -> Float[Tensor, "batch L_or_Q d_model"]:
        """Return the residual stream after the mixer, at `positions` or at all positions.

        A mixer whose `forward` names `output_positions` computes only these outputs.

        Raises:
            UserError: if the mixer returns anything other than a tensor of the right shape.
        """
        u = self._mixer_input(x)
        if positions is not None and takes_positions(self.mixer):
            there = _at(x, positions)
            y = call_forward(self.mixer, u, tokens, positions)
            return there + _checked(y, there, self.mixer)
        y = x + _checked(call_forward(self.mixer, u, tokens), x, self.mixer)
        return y if positions is None else _at(y, positions)

    def auxiliary_loss(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, ""]:
        """Return the mixer's term of the training loss, given the residual stream; usually 0.

        Raises:
            UserError: if the mixer returns anything other than one number.
        """
        if not self.training or not hasattr(self.mixer, "auxiliary_loss"):
            return x.new_zeros(())
        return call_auxiliary_loss(self.mixer, self._mixer_input(x))

    def feed(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return the residual stream after the MLP; unchanged if there is none.

        With a Canon layer at the MLP, `x` must have all positions.
        """
        if self.mlp is None or self.mlp_norm is None:
            return x
        u = self.mlp_norm(x)
        return x + self.mlp(u if self.mlp_canon is None else self.mlp_canon(u))

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Return the state before the first token."""
        state = {"mixer": call_initial_state(self.mixer, batch_size)}
        if self.short_conv is not None:
            state["short_conv"] = self.short_conv.initial_state(batch_size)
        for name, canon in (("canon", self.canon), ("mlp_canon", self.mlp_canon)):
            if canon is not None:
                state[name] = canon.initial_state(batch_size)
        if isinstance(self.mlp, MLP) and self.mlp.canon is not None:
            state["mlp"] = self.mlp.initial_state(batch_size)
        return state

    def step(
        self,
        x: Float[Tensor, "batch d_model"],
        state: dict[str, Any],
        token: Int64[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch d_model"], dict[str, Any]]:
        """Return the residual stream of one token after the layer, and the new state."""
        u, new = self.norm(x), {}
        if self.canon is not None:
            u, new["canon"] = self.canon.step(u, state["canon"])
        if self.short_conv is not None:
            u, new["short_conv"] = self.short_conv.step(u, state["short_conv"])
        y, new["mixer"] = call_step(self.mixer, u, state["mixer"], token)
        return self._feed_step(x + y, state, new), new

    def _feed_step(
        self, x: Float[Tensor, "batch d_model"], state: dict[str, Any], new: dict[str, Any]
    ) -> Float[Tensor, "batch d_model"]:
        """Apply `feed` at one position and put its states into `new`."""
        if not self._feed_looks_back or self.mlp is None or self.mlp_norm is None:
            return self.feed(x)
        u = self.mlp_norm(x)
        if self.mlp_canon is not None:
            u, new["mlp_canon"] = self.mlp_canon.step(u, state["mlp_canon"])
        if not isinstance(self.mlp, MLP) or self.mlp.canon is None:
            return x + self.mlp(u)
        y, new["mlp"] = self.mlp.step(u, state["mlp"])
        return x + y

    @property
    def _feed_looks_back(self) -> bool:
        """Whether `feed` computes a position from earlier ones, too."""
        inner = self.mlp.canon if isinstance(self.mlp, MLP) else None
        return self.mlp_canon is not None or inner is not None

    def _mixer_input(self, x: Float[Tensor, "batch L d_model"]) -> Float[Tensor, "batch L d_model"]:
        u = self.norm(x)
        if self.canon is not None:
            u = self.canon(u)
        return u if self.short_conv is None else self.short_conv(u)


def _build(spec: MixerSpec, **context: Any) -> nn.Module:
    try:
        return spec.build(**context)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the mixer {spec.mixer!r} cannot be built with {spec.given(context)}:"
            f" {type(error).__name__}: {summary(error)}"
        ) from error


def _checked(y: Any, like: Tensor, mixer: nn.Module) -> Tensor:
    """Return the mixer's output; refuse another shape, which would broadcast silently."""
    if isinstance(y, Tensor) and y.shape == like.shape:
        return y
    returned = tuple(y.shape) if isinstance(y, Tensor) else f"a {type(y).__name__}"
    raise UserError(
        f"the mixer {type(mixer).__name__} returned {returned}, expected one tensor of the shape"
        f" {tuple(like.shape)}; return that tensor alone"
    )


def _at(
    x: Float[Tensor, "batch L d_model"], positions: Int64[Tensor, "batch Q"]
) -> Float[Tensor, "batch Q d_model"]:
    return x.take_along_dim(positions[..., None], dim=1)


def make_norm(kind: NormKind, d_model: int) -> nn.Module:
    """Return a new norm of the recipe."""
    return nn.LayerNorm(d_model) if kind == "layernorm" else nn.RMSNorm(d_model, eps=1e-5)


def _make_mlp(config: ModelConfig) -> nn.Module:
    kind = config.mlp
    if kind is None or kind == "identity":
        return nn.Identity()
    return MLP(config.d_model, kind, canon="D" in config.canon)
