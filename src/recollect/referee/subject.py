"""What is judged: a mixer in one context, how it is built and run, and what it raises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.models.calling import call_forward, call_initial_state, call_step
from recollect.models.config import ModelConfig
from recollect.referee.calls import blaming, checked_output, checked_step, gradients_of
from recollect.referee.inputs import BATCH, LONG, PAIR, Sequences, random_sequences
from recollect.referee.maker import Maker
from recollect.referee.noise import Noise, choose_noise
from recollect.referee.precision import Precision, half, measure_precision, single
from recollect.referee.verdict import Misbehaviour

SEEDS = (0, 1)
"""Of the weights."""
SHORT_LENGTHS = (1, 2, 7, 64)
CHUNK_LENGTHS = (16, 32, 100, 128, 256)
"""Other lengths, for which a mixer may have a path of its own."""
Path = Literal["", "float32", "autocast"]
"""How a mixer is run: in the type of its `precision`; as training does; likewise in bfloat16."""
PATHS: dict[Path, str] = {
    "": "",
    "float32": "in float32",
    "autocast": "under bfloat16 autocast",
}
"""Each in words."""


@dataclass(frozen=True)
class Subject:
    """A mixer in one context.

    Attributes:
        config: the mixer, or the layer pattern of which one period is judged as one mixer; its
            width; and whether queries and keys are rotated.
        max_len: the longest length it is built for, in tokens.
        layer_idx: the layer it is told to be, of two.
        device: where it runs.
        path: how it is run.
    """

    config: ModelConfig
    max_len: int
    layer_idx: int = 0
    device: str = "cpu"
    path: Path = ""

    @property
    def context(self) -> str:
        """What is special about this context, in words."""
        if self.layer_idx:
            return f"as layer {self.layer_idx}"
        if self.config.positions != "rope":
            return ""
        up_to = f" up to {self.max_len} positions" if len(self.config.mixer) > 1 else ""
        return f"with rotated queries and keys{up_to}"

    @cached_property
    def maker(self) -> Maker:
        """Makes its modules."""
        return Maker(self.config, self.max_len, self.layer_idx, self.device)

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
        """The module, in evaluation mode; what its constructor leaves uninitialised is zero.

        Args:
            seed: of the initialisation and the noise.
            dtype: of parameters and buffers; None: that of `precision`.
            perturbed: whether `self.noise` is added to trained parameters.
            max_len: another longest length than the subject's.

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
        """Random ones, on the subject's device; `batch` is `BATCH`, or `PAIR` where they are long,
        if it is not given."""
        x, tokens = random_sequences(
            batch or (BATCH if length <= LONG else PAIR), length, self.config.d_model, seed
        )
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
        """What the module gives, at `positions` or at all of them; `seed` is that of its dropout.

        Where gradients are enabled its input needs one, as within a model that is trained.

        Raises:
            Misbehaviour: if it raises, or gives anything but a tensor of the right shape.
        """
        torch.manual_seed(seed)
        needs_gradient = torch.is_grad_enabled() and not x.requires_grad
        handed = (x.detach().requires_grad_() if needs_gradient else x).clone()
        ids = tokens.clone()
        asked = "" if positions is None else f" and {positions.shape[1]} output positions"
        autocast = torch.autocast(x.device.type, torch.bfloat16, self.path == "autocast")
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
        """As `run`, from a copy of the module, which stays as it is: on the path that training
        takes, with gradients enabled, if it is in training mode, else without.

        A module that sets itself from the first input that it reads does so anew each time. Ours
        are called as they are, to save time: they keep nothing from call to call, which is a check.

        Raises:
            Misbehaviour: as in `run`.
        """
        with torch.set_grad_enabled(module.training):
            used = module if self.maker.is_ours else self.maker.copied(module)
            return self.run(used, x, tokens, positions, seed=seed).detach()

    def gradients(self, y: Float[Tensor, ""], inputs: Sequence[Tensor]) -> list[Tensor]:
        """Of a number by tensors, zeros by those it does not depend on; the graph stays.

        Raises:
            Misbehaviour: if the module raises on the way back, or there is no way back.
        """
        if not y.requires_grad:
            raise Misbehaviour(
                "the output carries no gradient: forward computes under torch.no_grad or detaches"
            )
        with blaming("the backward pass"):
            return gradients_of(y, inputs)

    def initial_state(self, module: nn.Module, batch: int) -> Any:
        """The module's state before the first token."""
        with blaming("initial_state"):
            return call_initial_state(module, batch)

    def step(
        self,
        module: nn.Module,
        x_t: Float[Tensor, "batch d_model"],
        token: Int64[Tensor, " batch"],
        state: Any,
    ) -> tuple[Float[Tensor, "batch d_model"], Any]:
        """One step of the module, which is handed a copy of its input: a view of the sequence in
        its state would hold on to all of it.

        Raises:
            Misbehaviour: if it raises, or gives anything but (y_t, new state).
        """
        with blaming("step"):
            given = call_step(module, x_t.clone(), state, token)
        return checked_step(given, x_t)

    @cached_property
    def runs(self) -> bool:
        """Whether it runs over more than one position."""
        return max(self.lengths, default=0) > 1

    @cached_property
    def failures(self) -> dict[int, Misbehaviour]:
        """At which of the lengths up to `max_len` it does not run, and why."""
        wanted = {*SHORT_LENGTHS, *CHUNK_LENGTHS, self.max_len}
        attempts = {n: self._attempt(n) for n in sorted(wanted) if n <= self.max_len}
        return {length: error for length, error in attempts.items() if error is not None}

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Lengths at which it runs, in order."""
        lengths = {n for n in (*SHORT_LENGTHS, self.max_len) if n not in self.failures}
        if self.max_len in self.failures:  # perhaps it takes multiples of a chunk only
            powers = (1 << n for n in range(3, self.max_len.bit_length()))
            lengths |= {n for n in powers if self._attempt(n) is None}
        return tuple(sorted(lengths))

    @property
    def chunk_lengths(self) -> tuple[int, ...]:
        """Further lengths at which it runs, below the longest of `lengths`."""
        longest = self.lengths[-1]
        return tuple(n for n in CHUNK_LENGTHS if n < longest and n not in self.failures)

    @property
    def middle(self) -> int:
        """A length for what does not depend on it; the longest takes most of the time."""
        return self.lengths[-2:][0]

    @cached_property
    def noise(self) -> Noise:
        """What is added to trained parameters."""
        if not self.runs:
            return Noise(0.0, "it does not run")
        given = [self.sequences(self.lengths[-1], seed=i, dtype=torch.float32) for i in SEEDS]

        def outputs(level: float) -> Tensor:
            modules = [self.maker.make(i, torch.float32, level) for i in SEEDS]
            pairs = zip(modules, given, strict=True)
            with torch.no_grad():
                return torch.cat([self.run(module, *sequences) for module, sequences in pairs])

        return choose_noise(outputs, torch.cat([x for x, _ in given]))

    @cached_property
    def precision(self) -> Precision:
        """Double where the module really computes in it, else single or half; on another path that
        of the path."""
        if self.path == "autocast":
            return half("under bfloat16 autocast")
        evaluation = self._precision(self.lengths[-1], training=False)
        training = self._precision(self.middle, training=True)
        return max(evaluation, training, key=lambda precision: precision.tolerance)

    def _precision(self, length: int, *, training: bool) -> Precision:
        """That of evaluation, or of training, which may take another path."""
        module, dtype = self.build(dtype=torch.float64).train(training), torch.float64
        x, tokens = self.sequences(length, batch=BATCH, dtype=dtype)
        direction, _ = self.sequences(length, batch=BATCH, seed=1, dtype=dtype)
        return measure_precision(lambda given: self.outputs(module, given, tokens), x, direction)

    def on(self, path: Path) -> Subject:
        """The same, run in another way; what was found about it is kept."""
        other = replace(self, path=path)
        kept = ("maker", "failures", "lengths", "noise")
        other.__dict__.update({name: getattr(self, name) for name in kept})
        if path == "float32":
            least = single("as training computes")
            other.__dict__["precision"] = max(self.precision, least, key=lambda p: p.tolerance)
        return other

    @cached_property
    def without_autocast(self) -> Misbehaviour | None:
        """Why it cannot be trained under bfloat16 autocast."""
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
        """With which weights something was found, in words."""
        return f" ({self.noise})" if perturbed else ", as it is initialised"

    def _attempt(self, length: int) -> Misbehaviour | None:
        try:
            module = self.build(dtype=torch.float32, perturbed=False)
            self.run(module, *self.sequences(length, dtype=torch.float32))
        except Misbehaviour as error:
            return error
        return None
