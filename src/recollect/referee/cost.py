"""The cost of a mixer: parameters, multiply-adds, and time relative to attention."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from recollect.referee.calls import blaming
from recollect.referee.counting import counted
from recollect.referee.layers import has_step
from recollect.referee.steps import run_steps
from recollect.referee.subject import Subject
from recollect.tensors import count_numbers, trained_numbers

COST_LENGTH = 512
"""Length of the sequences on which multiply-adds are counted and time is measured."""
SPEED_BATCH, DECODED = 4, 16
"""Rows of a batch in measurements of speed, and decoded tokens after the sequence."""
LEAST_ROUNDS, LEAST_SECONDS = 5, 0.3
"""The least rounds and seconds of a comparison of speed; other processes may disturb single
rounds."""


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds per position of a forward pass over `COST_LENGTH` positions.

    Attributes:
        products: in PyTorch's matrix products, convolutions, attention and recurrent layers,
            outside of our ops, counted as they run. Attention counts masked pairs, too.
        declared: declared by our ops.
        uncounted: operators that do work but are not counted, such as FFTs and scans.
    """

    products: float
    declared: float
    uncounted: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The sum of both, without elementwise products outside of our ops and `uncounted`."""
        return self.products + self.declared


@dataclass(frozen=True)
class Speed:
    """Time relative to our attention, measured in turns on the same machine.

    Attributes:
        training: for a forward and backward pass.
        decoding: for a step after `COST_LENGTH` tokens; None without a step form. A step of a long
            convolution recomputes its whole filter.
    """

    training: float
    decoding: float | None


def multiply_adds(subject: Subject) -> MultiplyAdds:
    """Count the multiply-adds in a forward pass over one sequence.

    Raises:
        Misbehaviour: if the module does not run.
    """
    module = subject.build(dtype=torch.float32, perturbed=False, max_len=COST_LENGTH)
    x, tokens = subject.sequences(COST_LENGTH, batch=1, dtype=torch.float32)
    found = counted(lambda: subject.run(module, x, tokens))
    return MultiplyAdds(found.products / COST_LENGTH, found.declared / COST_LENGTH, found.uncounted)


@dataclass(frozen=True)
class Parameters:
    """Numbers of elements in parameters; a complex element counts as two.

    Parameters that grow with `max_len` are counted for `COST_LENGTH` positions.

    Attributes:
        trained: elements that are trained.
        frozen: elements that are not trained.
    """

    trained: int
    frozen: int


def parameters(subject: Subject) -> Parameters:
    """Count the elements of a mixer's parameters.

    Raises:
        Misbehaviour: if the module cannot be built.
    """
    module = subject.build(dtype=torch.float32, perturbed=False, max_len=COST_LENGTH)
    trained = trained_numbers(module)
    return Parameters(trained, sum(map(count_numbers, module.parameters())) - trained)


def speed(subject: Subject) -> Speed:
    """Measure the time of a mixer relative to attention of the same width and number of layers.

    Raises:
        Misbehaviour: if the module does not run.
    """
    layers = ("attention",) * len(subject.config.mixer)
    config = subject.config.replace(mixer=layers, positions=None)
    attention = Subject(config, subject.max_len, device=subject.device)
    training = _ratio(*(_training_pass(each) for each in (subject, attention)))
    if not has_step(subject.build(dtype=torch.float32, perturbed=False)):
        return Speed(training, None)
    return Speed(training, _ratio(*(_decoding(each) for each in (subject, attention))))


def _ratio(work: Callable[[], None], yardstick: Callable[[], None]) -> float:
    """The ratio of the shortest times, after one round of warm-up."""
    work()
    yardstick()
    ours: list[float] = []
    its: list[float] = []
    while len(ours) < LEAST_ROUNDS or sum(ours) + sum(its) < LEAST_SECONDS:
        for each, seconds in (work, ours), (yardstick, its):
            start = time.perf_counter()
            each()
            seconds.append(time.perf_counter() - start)
    return min(ours) / min(its)


def _training_pass(subject: Subject) -> Callable[[], None]:
    """Prepare a forward and backward pass."""
    module = subject.build(dtype=torch.float32, perturbed=False, max_len=COST_LENGTH).train()
    x, tokens = subject.sequences(COST_LENGTH, batch=SPEED_BATCH, dtype=torch.float32)
    x.requires_grad_()

    def work() -> None:
        y = subject.run(module, x, tokens).sum()
        with blaming("the backward pass"):
            y.backward()
        x.grad = None
        module.zero_grad()
        _finish(subject)

    return work


def _decoding(subject: Subject) -> Callable[[], None]:
    """Prepare steps after `COST_LENGTH` tokens."""
    length = COST_LENGTH + DECODED
    module = subject.build(dtype=torch.float32, perturbed=False, max_len=length)
    x, tokens = subject.sequences(length, batch=SPEED_BATCH, dtype=torch.float32)
    with torch.no_grad():
        _, state = run_steps(subject, module, x[:, :COST_LENGTH], tokens[:, :COST_LENGTH])

    def work() -> None:
        with torch.no_grad():
            run_steps(subject, module, x[:, COST_LENGTH:], tokens[:, COST_LENGTH:], state)
        _finish(subject)

    return work


def _finish(subject: Subject) -> None:
    """Wait for asynchronous work of the device."""
    if torch.device(subject.device).type == "cuda":
        torch.cuda.synchronize(subject.device)
