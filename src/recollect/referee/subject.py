"""The subject of the checks: a mixer in one context, with methods to build and run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.models.calling import call_forward, call_initial_state, call_step
from recollect.models.config import ModelConfig
from recollect.referee.calls import blaming, checked_output, checked_step, gradients_of
from recollect.referee.generators import seed_all
from recollect.referee.inputs import BATCH, LONG, PAIR, Sequences, random_sequences
from recollect.referee.maker import Maker
from recollect.referee.noise import Noise, choose_noise
from recollect.referee.precision import PATHS, Path, Precision, half, measure_precision, single
from recollect.referee.verdict import Misbehaviour

SEEDS = (0, 1)
"""Seeds of the weights."""
SHORT_LENGTHS = (1, 2, 7, 64)
CHUNK_LENGTHS = (16, 32, 100, 128, 256)
"""Further lengths, at which a mixer may take a different code path."""


@dataclass(frozen=True)
class Subject:
    """A mixer in one context.

    Attributes:
        config: the mixer, or a layer pattern whose period is judged as one mixer; the width; and
            whether queries and keys are rotated.
        max_len: longest length, in tokens.
        layer_idx: index of the layer, of two.
        device: the device.
        path: the precision of its runs.
        in_blocks: whether a single mixer is also in its residual block, like those of a pattern.
    """

    config: ModelConfig
    max_len: int
    layer_idx: int = 0
    device: str = "cpu"
    path: Path = ""
    in_blocks: bool = False

    @property
    def context(self) -> str:
        """The context in words; empty for the plain one."""
        if self.layer_idx:
            return f"as layer {self.layer_idx}"
        if self.config.positions != "rope":
            return ""
        up_to = f" up to {self.max_len} positions" if len(self.config.mixer) > 1 else ""
        return f"with rotated queries and keys{up_to}"

    @cached_property
    def maker(self) -> Maker:
        """The builder of its modules."""
        blocks = self.in_blocks or len(self.config.mixer) > 1
        return Maker(self.config, self.max_len, self.layer_idx, self.device, blocks)

    def takes(self, name: str) -> bool:
        """Return whether the mixer, or one of the pattern, takes this part of the context."""
        return any(spec.takes(name) for spec in self.config.mixer)

    def build(
        self,
        seed: int = 0,
        *,
        dtype: torch.dtype | None = None,
        perturbed: bool = True,
        max_len: int | None = None,
    ) -> nn.Module:
        """Build the module in evaluation mode; uninitialised tensors are set to zero.

        Args:
            seed: seed of the initialisation and the noise.
            dtype: type of parameters and buffers; None: that of `precision`.
            perturbed: whether to add `self.noise` to trained parameters.
            max_len: longest length; None: the subject's.

        Raises:
            UserError: if the mixer does not allow its options at this width.
            Misbehaviour: if it raises anything else.
        """
        level = self.noise.level if perturbed else 0.0
        return self.maker.make(seed, dtype or self.precision.dtype, level, max_len)

    def sequences(
        self,
        length: int,
        *,
        batch: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
    ) -> Sequences:
        """Return random sequences; the default batch is `BATCH`, or `PAIR` above length `LONG`."""
        rows, vocab = batch or (BATCH if length <= LONG else PAIR), self.maker.vocab
        x, tokens = random_sequences(rows, length, self.config.d_model, seed, vocab)
        return x.to(self.device, dtype or self.precision.dtype), tokens.to(self.device)

    def run(
        self,
        module: nn.Module,
        x: Float[Tensor, "batch L d_model"],
        tokens: Int64[Tensor, "batch L"],
        positions: Int64[Tensor, "batch Q"] | None = None,
        *,
        seed: int = 0,
    ) -> Float[Tensor, "batch L_or_Q d_model"]:
        """Run the module, and return its outputs at `positions` or at all positions.

        `seed` is that of its random numbers. If gradients are enabled, the input requires one, as
        in a model in training.

        Raises:
            Misbehaviour: if it raises, or returns anything other than a tensor of the right shape.
        """
        seed_all(seed, x.device)
        needs_gradient = torch.is_grad_enabled() and not x.requires_grad
        handed = (x.detach().requires_grad_() if needs_gradient else x).clone()
        ids = tokens.clone()
        asked = "" if positions is None else f" and {positions.shape[1]} output positions"
        autocast = torch.autocast(x.device.type, torch.bfloat16, self.path == "autocast")
        asked += " in training mode" * module.training
        with blaming(f"forward at length {x.shape[1]}{asked}"), autocast:
            y = call_forward(module, handed, ids, positions)
        if not torch.equal(handed, x):
            raise Misbehaviour("forward overwrites its input; it must work on a copy")
        if not torch.equal(ids, tokens):
            raise Misbehaviour("forward overwrites its token ids; it must work on a copy")
        expected = x.shape if positions is None else (*positions.shape, x.shape[2])
        return checked_output(y, expected, f"an input of shape {tuple(x.shape)}{asked}")

    def outputs(
        self,
        module: nn.Module,
        x: Float[Tensor, "batch L d_model"],
        tokens: Int64[Tensor, "batch L"],
        positions: Int64[Tensor, "batch Q"] | None = None,
        *,
        seed: int = 0,
    ) -> Float[Tensor, "batch L_or_Q d_model"]:
        """Run a copy of the module, as `run` does, with gradients only in training mode.

        A module may adjust itself to its first input. Mixers of this package are not copied, to
        save time; a check makes sure that they keep nothing between calls.

        Raises:
            Misbehaviour: as in `run`.
        """
        with torch.set_grad_enabled(module.training):
            used = module if self.maker.is_ours else self.maker.copied(module)
            return self.run(used, x, tokens, positions, seed=seed).detach()

    def gradients(self, y: Float[Tensor, ""], inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of y, zeros where y does not depend on an input; keep the graph.

        Raises:
            Misbehaviour: if the backward pass raises, or y has no graph.
        """
        if not y.requires_grad:
            raise Misbehaviour(
                "the output has no gradient: forward runs under torch.no_grad, or detaches tensors"
            )
        with blaming("the backward pass"):
            return gradients_of(y, inputs)

    def initial_state(self, module: nn.Module, batch: int) -> Any:
        """Return the module's state before the first token."""
        with blaming("initial_state"):
            return call_initial_state(module, batch)

    def step(
        self,
        module: nn.Module,
        x_t: Float[Tensor, "batch d_model"],
        token: Int64[Tensor, " batch"],
        state: Any,
    ) -> tuple[Float[Tensor, "batch d_model"], Any]:
        """Run one step on a copy of the input: a view in the state would keep the sequence alive.

        Raises:
            Misbehaviour: if it raises, or returns anything other than (y_t, new state).
        """
        with blaming("step"):
            given = call_step(module, x_t.clone(), state, token)
        return checked_step(given, x_t)

    @cached_property
    def runs(self) -> bool:
        """Whether it runs on sequences longer than one token."""
        return max(self.lengths, default=0) > 1

    @cached_property
    def failures(self) -> dict[int, Misbehaviour]:
        """The lengths up to `max_len` at which it does not run, with the reasons."""
        wanted = {*SHORT_LENGTHS, *CHUNK_LENGTHS, self.max_len}
        attempts = {n: self.attempt(n) for n in sorted(wanted) if n <= self.max_len}
        return {length: error for length, error in attempts.items() if error is not None}

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """The lengths at which it runs, in order."""
        lengths = {n for n in (*SHORT_LENGTHS, self.max_len) if n not in self.failures}
        if self.max_len in self.failures:  # it may require multiples of a chunk
            powers = (1 << n for n in range(3, self.max_len.bit_length()))
            lengths |= {n for n in powers if self.attempt(n) is None}
        return tuple(sorted(lengths))

    @property
    def chunk_lengths(self) -> tuple[int, ...]:
        """Further lengths at which it runs, shorter than the longest of `lengths`."""
        longest = self.lengths[-1]
        return tuple(n for n in CHUNK_LENGTHS if n < longest and n not in self.failures)

    @property
    def middle(self) -> int:
        """The length for checks that do not depend on it; the longest would take most time."""
        return self.lengths[-2:][0]

    @cached_property
    def noise(self) -> Noise:
        """The noise on trained parameters."""
        if not self.runs:
            return Noise(0.0, "the mixer does not run")
        given = [self.sequences(self.lengths[-1], seed=i, dtype=torch.float32) for i in SEEDS]

        def outputs(level: float) -> Tensor:
            modules = [self.maker.make(i, torch.float32, level) for i in SEEDS]
            pairs = zip(modules, given, strict=True)
            with torch.no_grad():
                return torch.cat([self.run(module, *sequences) for module, sequences in pairs])

        return choose_noise(outputs, torch.cat([x for x, _ in given]))

    @cached_property
    def precision(self) -> Precision:
        """Double if the module really computes in it, else single or half; at most the path's."""
        if self.path == "autocast":
            return half(PATHS["autocast"])
        evaluation = self._precision(self.lengths[-1], training=False)
        training = self._precision(self.middle, training=True)
        return max(evaluation, training, key=lambda precision: precision.tolerance)

    def _precision(self, length: int, *, training: bool) -> Precision:
        """The precision of one mode; training may take another code path than evaluation."""
        module, dtype = self.build(dtype=torch.float64).train(training), torch.float64
        x, tokens = self.sequences(length, batch=BATCH, dtype=dtype)
        direction, _ = self.sequences(length, batch=BATCH, seed=1, dtype=dtype)
        return measure_precision(lambda given: self.outputs(module, given, tokens), x, direction)

    def on(self, path: Path) -> Subject:
        """Return the subject with another precision of its runs, keeping what is known of it."""
        other = replace(self, path=path)
        kept = ("maker", "failures", "lengths", "noise")
        other.__dict__.update({name: getattr(self, name) for name in kept})
        if path == "float32":
            least = single("the precision of training")
            other.__dict__["precision"] = max(self.precision, least, key=lambda p: p.tolerance)
        return other

    @cached_property
    def without_autocast(self) -> Misbehaviour | None:
        """Why it cannot be trained under bfloat16 autocast; None if it can."""
        other = self.on("autocast")
        x, tokens = other.sequences(other.middle)
        try:
            y = other.run(other.build().train(), x.requires_grad_(), tokens)
            if y.requires_grad:
                other.gradients(y.sum(), [x])
        except Misbehaviour as error:
            return error
        return None

    def when(self, perturbed: bool) -> str:
        """Return the weights at which something was found, in words."""
        return f" ({self.noise})" if perturbed else " at initialisation"

    def attempt(self, length: int, dtype: torch.dtype = torch.float32) -> Misbehaviour | None:
        """Why it does not run in evaluation mode, with or without gradients; None if it does."""
        try:
            for gradients in (True, False):
                module = self.build(dtype=dtype, perturbed=False)
                with torch.set_grad_enabled(gradients):
                    self.run(module, *self.sequences(length, dtype=dtype))
        except Misbehaviour as error:
            return error
        return None
