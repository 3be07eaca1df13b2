"""`mixers`: training, prefill, decoding and state of each mixer over the length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from recollect.bench.child import NotMeasured, explain, in_child
from recollect.bench.measurement import Place, Result, seconds
from recollect.bench.settings import BenchSettings
from recollect.models.config import ModelConfig
from recollect.referee.state import storage
from recollect.referee.subject import Subject, has_step, reads_tokens

LENGTHS, BATCH = (64, 512, 4096), 4
DECODED = 16
"""Steps that are timed together."""
Pass = Callable[[], object]


def bench_mixers(settings: BenchSettings) -> Iterator[Result]:
    """Each mixer in a process of its own."""
    for model in settings.models:
        waiting = _places(model, settings)
        try:
            for results in in_child(measure_mixer, model, settings, threads=settings.threads):
                waiting.pop(0)
                yield from results
        except NotMeasured as reason:
            yield from (place.left_out(str(reason)) for place in waiting)


def measure_mixer(model: ModelConfig, settings: BenchSettings) -> Iterator[list[Result]]:
    """One layer, or one period of a layer pattern, in this process: all of a length at once.

    The state is in bytes for each sequence of the batch.
    """
    places = _places(model, settings)
    config = model.replace(n_layers=len(model.mixer), positions=None)
    subject = Subject(config, places[-1].setting["length"] + DECODED, device=settings.device)
    measured = zip(
        _passes("training", _training, subject, places, settings),
        _passes("prefill", _prefill, subject, places, settings),
        _decoding(subject, places, settings),
        strict=True,
    )
    for training, prefill, decoding in measured:
        yield [training, prefill, *decoding]


def expected_seconds(taken: Mapping[int, float], length: int) -> float:
    """How long a length will take, from the times of shorter ones: it goes on to grow as between
    the last two, and at least in proportion to the length."""
    if not taken:
        return 0.0
    power = 1.0
    for (n, before), (m, after) in list(pairwise(sorted(taken.items())))[-1:]:
        power = max(power, math.log(after / before) / math.log(m / n))
    last = max(taken)
    return taken[last] * (length / last) ** power


def _places(model: ModelConfig, settings: BenchSettings) -> list[Place]:
    """From the shortest length."""
    size = {"d_model": model.d_model, "layers": len(model.mixer)}
    batch = {"batch": settings.batch or BATCH}
    lengths = settings.lengths or LENGTHS
    return [Place("mixers", model.label, size | {"length": n} | batch) for n in lengths]


def _passes(
    quantity: str,
    make: Callable[[nn.Module, list[Tensor]], Pass],
    subject: Subject,
    places: list[Place],
    settings: BenchSettings,
) -> Iterator[Result]:
    """Tokens per second of a pass over whole sequences, by a module that is built for them."""
    taken: dict[int, float] = {}
    for place in places:
        length, n = place.setting["length"], place.setting["batch"]
        try:
            _allow(expected_seconds(taken, length) * (settings.repeats + 1), settings)
            module = subject.build(dtype=torch.float32, perturbed=False, max_len=length)
            work = make(module, _inputs(subject, module, length, n))
            times = seconds(work, settings.repeats, settings.device)
        except Exception as error:  # whatever a mixer does, the next one is measured
            yield place.left_out(explain(error), quantity)
            continue
        taken[length] = min(times)
        yield place.measured(quantity, "tokens/s", [n * length / time for time in times])


def _training(module: nn.Module, inputs: list[Tensor]) -> Pass:
    """A forward and backward pass."""
    module.train()
    by = [inputs[0].requires_grad_(), *(p for p in module.parameters() if p.requires_grad)]
    return lambda: torch.autograd.grad(module(*inputs).sum(), by, allow_unused=True)


def _prefill(module: nn.Module, inputs: list[Tensor]) -> Pass:
    """A forward pass without gradients."""
    return torch.no_grad()(lambda: module(*inputs))


def _decoding(
    subject: Subject, places: list[Place], settings: BenchSettings
) -> Iterator[list[Result]]:
    """Tokens per second of steps after so many tokens, and the state then. It is carried on from
    length to length."""
    reader, reason = None, ""
    for place in places:
        length, n = place.setting["length"], place.setting["batch"]
        try:
            if reason:
                raise NotMeasured(reason)
            reader = reader or _Reader(subject, n)
            reader.read_to(length, settings)
            times = seconds(reader.peek, settings.repeats, settings.device)
        except Exception as error:  # whatever a mixer does, the next one is measured
            reason = explain(error)
            yield [place.left_out(reason, "decoding")]
            continue
        rates = [DECODED * n / time for time in times]
        size = storage(reader.state)[0] / n
        yield [
            place.measured("decoding", "tokens/s", rates),
            place.measured("state", "bytes", [size]),
        ]


class _Reader:
    """Reads random sequences token by token, up to the longest length of its subject."""

    def __init__(self, subject: Subject, n: int) -> None:
        self._module = subject.build(dtype=torch.float32, perturbed=False)
        if not has_step(self._module):
            raise NotMeasured("it has no initial_state and step")
        self._inputs = _inputs(subject, self._module, subject.max_len, n)
        self._at = 0
        self.state = subject.initial_state(self._module, n)

    def read_to(self, length: int, settings: BenchSettings) -> None:
        """Carry the state on to a length."""
        start = perf_counter()
        while self._at < length:
            self.state = self._step(self._at, self.state)
            self._at += 1
            taken = perf_counter() - start
            if taken > settings.limit_seconds:
                raise NotMeasured(f"after {taken:.0f} s it has read {self._at} of {length} tokens")

    def peek(self) -> None:
        """Steps beyond what has been read, which the state does not take up."""
        state = self.state
        for t in range(self._at, self._at + DECODED):
            state = self._step(t, state)

    @torch.no_grad()
    def _step(self, t: int, state: Any) -> Any:
        x, *tokens = (each[:, t] for each in self._inputs)
        return self._module.step(x, state, *tokens)[1]  # type: ignore[operator]


def _inputs(subject: Subject, module: nn.Module, length: int, n: int) -> list[Tensor]:
    """What the module is called with: sequences, and their tokens if it reads them."""
    x, tokens = subject.sequences(length, batch=n, dtype=torch.float32)
    return [x, tokens] if reads_tokens(module) else [x]


def _allow(expected: float, settings: BenchSettings) -> None:
    if expected > settings.limit_seconds:
        raise NotMeasured(
            f"it would take {expected:.0f} s, more than the {settings.limit_seconds:g} s allowed"
        )
