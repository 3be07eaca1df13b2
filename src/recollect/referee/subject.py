"""What is judged: a mixer in one context, how it is built and fed, and what it raises."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.referee.layers import Layers

BATCH = 3
VOCAB = 7
"""Token ids, so few that they recur."""
NOISE = 0.1
"""Standard deviation of what is added to every parameter: an initialisation may have zeros, and
behind a zero a fault does not show."""
Sequences = tuple[Float[Tensor, "batch L d_model"], Int64[Tensor, "batch L"]]
"""Inputs, and the ids of the tokens that they stand for."""
SHORT_LENGTHS = (1, 2, 7, 64)


class Misbehaviour(Exception):
    """What a module did that no mixer may do, in words."""


@dataclass(frozen=True)
class Precision:
    """The type in which a mixer is judged, and the relative error that counts as none."""

    dtype: torch.dtype
    tolerance: float
    reason: str = ""

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        why = f": {self.reason}" if self.reason else ""
        return f"{name}, relative tolerance {self.tolerance:g}{why}"


DOUBLE = Precision(torch.float64, 1e-9)


def single(reason: str) -> Precision:
    """Float32, and why not float64."""
    return Precision(torch.float32, 1e-4, reason)


@dataclass(frozen=True)
class Subject:
    """A mixer in one context.

    Attributes:
        config: the mixer, or the layer pattern of which one period is judged as one mixer; its
            width; and whether queries and keys are rotated.
        max_len: the longest length it is built for, in tokens.
        layer_idx: the layer it is told to be, of two.
        device: where it runs.
    """

    config: ModelConfig
    max_len: int
    layer_idx: int = 0
    device: str = "cpu"

    @property
    def context(self) -> str:
        """What is special about this context, in words."""
        if self.layer_idx:
            return f"as layer {self.layer_idx}"
        return "with rotated queries and keys" if self.config.positions == "rope" else ""

    def takes(self, name: str) -> bool:
        """Whether the mixer, or one of the pattern, names this part of the context."""
        return any(spec.takes(name) for spec in self.config.mixer)

    def build(
        self,
        seed: int = 0,
        *,
        dtype: torch.dtype | None = None,
        perturbed: bool = True,
        max_len: int | None = None,
    ) -> nn.Module:
        """The module, in evaluation mode.

        Args:
            seed: of the initialisation and the noise.
            dtype: of parameters and buffers; None: that of `precision`.
            perturbed: whether noise is added to every parameter.
            max_len: another longest length than the subject's.

        Raises:
            UserError: if the mixer does not allow its options at this width.
            Misbehaviour: if it raises anything else.
        """
        torch.manual_seed(seed)
        with blaming("building it"):
            module = self._construct(max_len or self.max_len).to(self.device)
        _cast(module, torch.float64)
        if perturbed:
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=NOISE)
        _cast(module, dtype or self.precision.dtype)
        return module.eval()

    def sequences(
        self, length: int, *, batch: int = BATCH, seed: int = 0, dtype: torch.dtype | None = None
    ) -> Sequences:
        """Random ones, on the subject's device."""
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(VOCAB, (batch, length), generator=generator)
        shape = (batch, length, self.config.d_model)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        return x.to(self.device, dtype or self.precision.dtype), tokens.to(self.device)

    def run(
        self,
        module: nn.Module,
        x: Float[Tensor, "batch L d_model"],
        tokens: Int64[Tensor, "batch L"],
        *,
        seed: int = 0,
    ) -> Float[Tensor, "batch L d_model"]:
        """What the module gives; `seed` is that of its dropout.

        Raises:
            Misbehaviour: if it raises, or gives anything but a tensor of the input's shape.
        """
        torch.manual_seed(seed)
        handed = x.clone()
        arguments = (handed, tokens.clone()) if reads_tokens(module) else (handed,)
        with blaming(f"forward at length {x.shape[1]}"):
            y = module(*arguments)
        if not torch.equal(handed, x):
            raise Misbehaviour("forward overwrites its input")
        if not isinstance(y, Tensor):
            raise Misbehaviour(f"forward gives a {type(y).__name__}, expected one tensor")
        if y.shape != x.shape:
            raise Misbehaviour(
                f"an input of shape {tuple(x.shape)} gives an output of shape {tuple(y.shape)}"
            )
        return y

    def gradients(self, y: Float[Tensor, ""], inputs: Sequence[Tensor]) -> list[Tensor]:
        """Of a number by tensors, zeros by those it does not depend on; the graph stays.

        Raises:
            Misbehaviour: if the module raises on the way back, or there is no way back.
        """
        if not y.requires_grad:
            raise Misbehaviour("the output carries no gradient")
        with blaming("the backward pass"):
            found = torch.autograd.grad(y, inputs, retain_graph=True, allow_unused=True)
        pairs = zip(found, inputs, strict=True)
        return [torch.zeros_like(x) if gradient is None else gradient for gradient, x in pairs]

    def initial_state(self, module: nn.Module, batch: int) -> Any:
        """The module's state before the first token."""
        with blaming("initial_state"):
            return module.initial_state(batch)  # type: ignore[operator]

    def step(
        self,
        module: nn.Module,
        x_t: Float[Tensor, "batch d_model"],
        token: Int64[Tensor, " batch"],
        state: Any,
    ) -> tuple[Float[Tensor, "batch d_model"], Any]:
        """One step of the module."""
        arguments = (x_t.clone(), state, token) if reads_tokens(module) else (x_t.clone(), state)
        with blaming("step"):
            y_t, state = module.step(*arguments)  # type: ignore[operator]
        if not isinstance(y_t, Tensor) or y_t.shape != x_t.shape:
            given = tuple(y_t.shape) if isinstance(y_t, Tensor) else type(y_t).__name__
            raise Misbehaviour(f"step gives {given}, expected {tuple(x_t.shape)}")
        return y_t, state

    @cached_property
    def runs(self) -> bool:
        """Whether it runs over more than one position."""
        try:
            return max(self.lengths, default=0) > 1
        except Misbehaviour:
            return False

    @cached_property
    def failures(self) -> dict[int, Misbehaviour]:
        """At which of the lengths up to `max_len` it does not run, and why."""
        attempts = {n: self._attempt(n) for n in (*SHORT_LENGTHS, self.max_len)}
        return {length: error for length, error in attempts.items() if error is not None}

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Lengths at which it runs, in order."""
        lengths = {n for n in (*SHORT_LENGTHS, self.max_len) if n not in self.failures}
        if self.max_len in self.failures:  # perhaps it takes multiples of a chunk only
            powers = (1 << n for n in range(3, self.max_len.bit_length()))
            lengths |= {n for n in powers if self._attempt(n) is None}
        return tuple(sorted(lengths))

    @cached_property
    def precision(self) -> Precision:
        """Double where the module really computes in it, else single."""
        module = self.build(dtype=torch.float64)
        x, tokens = self.sequences(self.lengths[-1], dtype=torch.float64)
        direction, _ = self.sequences(x.shape[1], seed=1, dtype=torch.float64)

        def bend(step: float) -> float:
            left, here, right = (
                self.run(module, x + shift * direction, tokens) for shift in (-step, 0, step)
            )
            return ((left - 2 * here + right).abs().max() / here.abs().max()).item()

        try:
            if self.run(module, x, tokens).dtype != torch.float64:
                return single("in float64 it gives another type")
            coarse, fine = bend(1e-8), bend(1e-9)
        except Misbehaviour as error:
            return single(f"in float64, {error}")
        # a curve is a hundredth as bent over a tenth of the step, rounding is not
        if fine > 1e-11 and fine > coarse / 10:
            return single("in float64 it rounds as float32 does")
        return DOUBLE

    def _attempt(self, length: int) -> Misbehaviour | None:
        module = self.build(dtype=torch.float32)
        try:
            self.run(module, *self.sequences(length, dtype=torch.float32))
        except Misbehaviour as error:
            return error
        return None

    def _construct(self, max_len: int) -> nn.Module:
        config = self.config
        if len(config.mixer) > 1:
            return Layers(config, max_len)
        return config.mixer[0].build(
            d_model=config.d_model,
            max_len=max_len,
            layer_idx=self.layer_idx,
            n_layers=2,
            rope=config.positions == "rope",
        )


def reads_tokens(module: nn.Module) -> bool:
    """Whether the module is given token ids."""
    return "tokens" in inspect.signature(module.forward).parameters


def has_step(module: nn.Module) -> bool:
    """Whether there is a step form."""
    parts = [block.mixer for block in module.blocks] if isinstance(module, Layers) else [module]
    return all(hasattr(part, name) for part in parts for name in ("initial_state", "step"))


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Whatever the module raises is its misbehaviour, not the referee's."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) and what == "building it":
            raise
        message = str(error).strip().partition("\n")[0]
        raise Misbehaviour(f"{what} raises {type(error).__name__}: {message}") from error


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Change the precision of real and complex numbers; `Module.to` would make them all real."""

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    module._apply(cast)
