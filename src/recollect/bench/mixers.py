"""`mixers`: training, prefill, decoding and state size of each mixer over sequence length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from recollect.bench.child import MeasurementFailed, explain, in_child
from recollect.bench.measurement import Place, Result, seconds
from recollect.bench.settings import BenchSettings
from recollect.models.calling import call_forward
from recollect.models.config import ModelConfig
from recollect.referee.layers import has_step
from recollect.referee.state import state_sizes
from recollect.referee.subject import Subject

LENGTHS, BATCH = (64, 512, 4096), 4
DECODED = 16
"""Steps that are timed together."""
Pass = Callable[[], object]


def bench_mixers(settings: BenchSettings) -> Iterator[Result]:
    """Measure each mixer in its own process."""
    for model in settings.models:
        waiting = _places(model, settings)
        try:
            for results in in_child(measure_mixer, model, settings, threads=settings.threads):
                waiting.pop(0)
                yield from results
        except MeasurementFailed as reason:
            yield from (place.left_out(str(reason)) for place in waiting)


def measure_mixer(model: ModelConfig, settings: BenchSettings) -> Iterator[list[Result]]:
    """Measure one layer, or one period of a layer pattern, in this process.

    Yields the results of one length at a time. The state is in bytes per sequence.
    """
    places = _places(model, settings)
    config = model.replace(n_layers=len(model.mixer), positions=None)
    subject = Subject(config, places[-1].setting["length"] + DECODED, device=settings.device)
    measured = zip(
        _passes("training", _training, subject, places, settings),
        _passes("prefill", _prefill, subject, places, settings),
        _decoding(subject, places, settings),
        _states(subject, places, settings),
        strict=True,
    )
    for of_a_length in measured:
        yield [result for result in of_a_length if result is not None]


def expected_seconds(taken: Mapping[int, float], length: int) -> float:
    """Predict the time of a length from the times of shorter ones.

    The time grows by the power law of the last two lengths, and at least linearly.
    """
    if not taken:
        return 0.0
    power = 1.0
    for (n, before), (m, after) in list(pairwise(sorted(taken.items())))[-1:]:
        power = max(power, math.log(after / before) / math.log(m / n))
    last = max(taken)
    return taken[last] * (length / last) ** power


def _places(model: ModelConfig, settings: BenchSettings) -> list[Place]:
    """The settings to measure, shortest length first."""
    size = {"d_model": model.d_model, "layers": len(model.mixer)}
    batch = {"batch": settings.batch or BATCH}
    lengths = settings.lengths or LENGTHS
    return [Place("mixers", model.label, size | {"length": n} | batch) for n in lengths]


def _passes(
    quantity: str,
    make: Callable[[nn.Module, Tensor, Tensor], Pass],
    subject: Subject,
    places: list[Place],
    settings: BenchSettings,
) -> Iterator[Result]:
    """Tokens per second of a pass over whole sequences, with a module built for each length."""
    taken: dict[int, float] = {}
    for place in places:
        length, n = place.setting["length"], place.setting["batch"]
        try:
            _allow(expected_seconds(taken, length) * (settings.repeats + 1), settings)
            module = subject.build(dtype=torch.float32, perturbed=False, max_len=length)
            work = make(module, *subject.sequences(length, batch=n, dtype=torch.float32))
            times = seconds(work, settings.repeats, settings.device)
        except Exception as error:  # an error of one mixer must not stop the benchmark
            yield place.left_out(explain(error), quantity)
            continue
        taken[length] = min(times)
        yield place.measured(quantity, "tokens/s", [n * length / time for time in times])


def _training(module: nn.Module, x: Tensor, tokens: Tensor) -> Pass:
    """A forward and backward pass."""
    module.train()
    by = [x.requires_grad_(), *(p for p in module.parameters() if p.requires_grad)]
    return lambda: torch.autograd.grad(call_forward(module, x, tokens).sum(), by, allow_unused=True)


def _prefill(module: nn.Module, x: Tensor, tokens: Tensor) -> Pass:
    """A forward pass without gradients."""
    return torch.no_grad()(lambda: call_forward(module, x, tokens))


def _decoding(subject: Subject, places: list[Place], settings: BenchSettings) -> Iterator[Result]:
    """Tokens per second of decoding after each length, from one growing recurrent state."""
    reader, reason = None, ""
    for place in places:
        n = place.setting["batch"]
        try:
            if reason:
                raise MeasurementFailed(reason)
            reader = reader or _Reader(subject, n)
            reader.read_to(place, settings)
            times = seconds(reader.peek, settings.repeats, settings.device)
        except Exception as error:  # an error of one mixer must not stop the benchmark
            reason = explain(error)
            yield place.left_out(reason, "decoding")
            continue
        yield place.measured("decoding", "tokens/s", [DECODED * n / time for time in times])


def _states(
    subject: Subject, places: list[Place], settings: BenchSettings
) -> Iterator[Result | None]:
    """The state size of one sequence after each length; None without a step form."""
    sizes, at, size, reason = state_sizes(subject, subject.max_len), 0, 0, ""
    for place in places:
        start = perf_counter()
        try:
            if not has_step(subject.build(dtype=torch.float32, perturbed=False)):
                yield None
                continue
            while at < place.setting["length"] and not reason:
                size, at = next(sizes).bytes, at + 1
                _limit(start, at, place, settings)
        except Exception as error:  # an error of one mixer must not stop the benchmark
            reason = explain(error)
        yield (
            place.left_out(reason, "state") if reason else place.measured("state", "bytes", [size])
        )


class _Reader:
    """Reads random sequences token by token, up to the longest length of its subject."""

    def __init__(self, subject: Subject, n: int) -> None:
        self._subject = subject
        self._module = subject.build(dtype=torch.float32, perturbed=False)
        if not has_step(self._module):
            raise MeasurementFailed("it has no initial_state and step")
        self._x, self._tokens = subject.sequences(subject.max_len, batch=n, dtype=torch.float32)
        self._at = 0
        self._state = subject.initial_state(self._module, n)

    def read_to(self, place: Place, settings: BenchSettings) -> None:
        """Read tokens up to a length."""
        start = perf_counter()
        while self._at < place.setting["length"]:
            self._state = self._step(self._at, self._state)
            self._at += 1
            _limit(start, self._at, place, settings)

    def peek(self) -> None:
        """Decode further tokens without changing the kept state."""
        state = self._state
        for t in range(self._at, self._at + DECODED):
            state = self._step(t, state)

    @torch.no_grad()
    def _step(self, t: int, state: Any) -> Any:
        x_t, token = self._x[:, t], self._tokens[:, t]
        return self._subject.step(self._module, x_t, token, state)[1]


def _limit(start: float, at: int, place: Place, settings: BenchSettings) -> None:
    """Raise if reading token by token takes too long."""
    taken = perf_counter() - start
    if taken > settings.limit_seconds:
        length = place.setting["length"]
        raise MeasurementFailed(f"it has read only {at} of {length} tokens after {taken:.0f} s")


def _allow(expected: float, settings: BenchSettings) -> None:
    if expected > settings.limit_seconds:
        raise MeasurementFailed(
            f"it would take {expected:.0f} s, more than the limit of {settings.limit_seconds:g} s"
        )
