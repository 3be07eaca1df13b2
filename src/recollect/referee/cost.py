"""What a mixer costs: parameters, multiply-adds, and time beside attention."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from recollect.ops.cost import Op
from recollect.referee.steps import run_steps
from recollect.referee.subject import Subject, has_step

COST_LENGTH = 512
"""Positions of the sequence over which multiply-adds are counted and time is taken."""
SPEED_BATCH, DECODED = 4, 16
LEAST_ROUNDS, LEAST_SECONDS = 5, 0.3
"""A race goes on for so many rounds and so long: something else may be running too."""


@dataclass(frozen=True)
class MultiplyAdds:
    """Of a forward pass over `COST_LENGTH` positions, for each position.

    Attributes:
        products: in matrix products outside of our ops, counted as they run.
        declared: in our ops, which declare theirs.
    """

    products: float
    declared: float

    @property
    def total(self) -> float:
        """Both; elementwise products outside of our ops, FFTs and kernels of others are not in."""
        return self.products + self.declared


@dataclass(frozen=True)
class Speed:
    """Time as a multiple of that of our attention, on the same machine in turns.

    Attributes:
        training: of a forward and backward pass.
        decoding: of a step after `COST_LENGTH` tokens; None without a step form. A step of a long
            convolution makes its whole filter anew.
    """

    training: float
    decoding: float | None


class _Counter(TorchFunctionMode):
    """Takes what an op declares in place of the matrix products that are counted within it."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.counter = counter
        self.declared = self.within = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, Op):
            return func(*args, **kwargs)
        before = self.counter.get_total_flops()
        result = func(*args, **kwargs)
        self.within += self.counter.get_total_flops() - before
        self.declared += func.multiply_adds(*args, **kwargs)
        return result


def multiply_adds(subject: Subject) -> MultiplyAdds:
    """Count them in a forward pass over one sequence.

    Raises:
        Misbehaviour: if the module does not run.
    """
    module = subject.build(dtype=torch.float32, max_len=COST_LENGTH)
    module.requires_grad_(False)  # the counter follows gradients where there are any
    x, tokens = subject.sequences(COST_LENGTH, batch=1, dtype=torch.float32)
    products, declared = counted(lambda: subject.run(module, x, tokens))
    return MultiplyAdds(products / COST_LENGTH, declared / COST_LENGTH)


def counted(work: Callable[[], object]) -> tuple[int, int]:
    """Multiply-adds of some work without gradients, whose parameters must ask for none: in matrix
    products outside of our ops, and as our ops declare them."""
    counter = FlopCounterMode(display=False, custom_mapping=_uncounted())
    with torch.no_grad(), counter, _Counter(counter) as ops:
        work()
    products = (counter.get_total_flops() - ops.within) // 2  # a multiply-add is two operations
    return products, ops.declared


def _uncounted() -> dict[Any, Callable[..., int]]:
    """Matrix products that PyTorch's counter does not know: attention's kernel on the CPU."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        *leading, queries, width = query
        rows = torch.Size(leading).numel()
        return 2 * rows * queries * key[-2] * (width + value[-1])

    return {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}


def parameters(subject: Subject) -> int:
    """Number of trained numbers; those that grow with `max_len` as for `COST_LENGTH` positions."""
    module = subject.build(dtype=torch.float32, max_len=COST_LENGTH)
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def speed(subject: Subject) -> Speed:
    """Race the mixer against attention of the same width and number of layers.

    Raises:
        Misbehaviour: if the module does not run.
    """
    layers = ("attention",) * len(subject.config.mixer)
    config = subject.config.replace(mixer=layers, positions=None)
    attention = Subject(config, subject.max_len, device=subject.device)
    training = _ratio(*(_training_pass(each) for each in (subject, attention)))
    if not has_step(subject.build(dtype=torch.float32)):
        return Speed(training, None)
    return Speed(training, _ratio(*(_decoding(each) for each in (subject, attention))))


def _ratio(work: Callable[[], None], yardstick: Callable[[], None]) -> float:
    """Of the shortest times, after a round that does not count."""
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
    """A forward and backward pass."""
    module = subject.build(dtype=torch.float32, max_len=COST_LENGTH).train()
    x, tokens = subject.sequences(COST_LENGTH, batch=SPEED_BATCH, dtype=torch.float32)
    inputs = [x.requires_grad_(), *(p for p in module.parameters() if p.requires_grad)]

    def work() -> None:
        subject.gradients(subject.run(module, x, tokens).sum(), inputs)
        _finish(subject)

    return work


def _decoding(subject: Subject) -> Callable[[], None]:
    """Steps after `COST_LENGTH` tokens."""
    length = COST_LENGTH + DECODED
    module = subject.build(dtype=torch.float32, max_len=length)
    x, tokens = subject.sequences(length, batch=SPEED_BATCH, dtype=torch.float32)
    with torch.no_grad():
        _, state = run_steps(subject, module, x[:, :COST_LENGTH], tokens[:, :COST_LENGTH])

    def work() -> None:
        with torch.no_grad():
            run_steps(subject, module, x[:, COST_LENGTH:], tokens[:, COST_LENGTH:], state)
        _finish(subject)

    return work


def _finish(subject: Subject) -> None:
    """Wait for work that a device does in the background."""
    if torch.device(subject.device).type == "cuda":
        torch.cuda.synchronize(subject.device)
