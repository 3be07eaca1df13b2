"""What the tests follow on the fake GPU: a training step of each architecture, alone and of several
models, evaluation, decoding, and whole trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np
import torch
from fake_gpu import GPU, Trace, fake_gpu, to_gpu
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily

from recollect.mixers.catalogue import MIXERS
from recollect.mixers.patterns import PATTERNS
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.tasks.mqar import MQAR
from recollect.training import agreement, population, program, rehearsal, trial
from recollect.training.checkpoint import build_model
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.data import TrainingData
from recollect.training.evaluate import evaluate
from recollect.training.optimizer import make_optimizer
from recollect.training.precision import mixed_precision
from recollect.training.program import Program
from recollect.training.run import Run
from recollect.training.stacked_update import members
from recollect.training.step import training_step
from recollect.training.trained import Trained

NAMES = [*MIXERS, *PATTERNS]
TASK = MQAR(seq_len=64, num_kv_pairs=4)
SHORT = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
MODELS = 2


def config(mixer: Any, task: MQAR = TASK, train: TrainConfig | None = None) -> TrialConfig:
    """A trial with two layers, or one period of a pattern, of width 64."""
    model = ModelConfig(mixer=mixer, d_model=64)
    return TrialConfig(task=task, model=model, train=train or TrainConfig(batch_size=64))


def counted(name: str) -> TrialConfig:
    """A trial whose launches are counted: one layer of a mixer, or one period of a pattern."""
    depth = {"n_layers": 1} if name in MIXERS else {}
    model = ModelConfig(mixer=name, d_model=64, **depth)
    return TrialConfig(task=TASK, model=model, train=TrainConfig(batch_size=64))


def trace_step(trial_config: TrialConfig, trace: Trace | None = None) -> Trace:
    """A training step of one model, after the first."""
    model = build_model(trial_config)
    run = Run(trial_config, _Again(trial_config))
    with fake_gpu(trace) as trace:
        there = to_gpu(model)
        optimizer = make_optimizer(there, trial_config.train)
        for parameter in there.parameters():  # the optimiser makes what it keeps
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        trace.forget()
        training_step(Trained(run, there, optimizer, []))
    return trace


def trace_population(trial_config: TrialConfig) -> Trace:
    """A training step of several models, after a validation."""
    trials = _trials(trial_config)
    with whole_trials() as trace:
        program = Program(trials, GPU)
        program.validate()
        numbers = program._numbers(1)[0]
        trace.forget()
        program._step(program._arguments({t.source: t.run.batch() for t in trials}, numbers))
    return trace


def trace_mixed_precision(trial_config: TrialConfig) -> Trace:
    """The loss of a model and its gradient, in bfloat16."""
    model = build_model(trial_config)
    batch = trial_config.task.sample(2, 0)
    with fake_gpu() as trace:
        there, examples = to_gpu(model), batch.to(GPU)
        with mixed_precision(TrainConfig(dtype="bfloat16"), GPU):
            loss = there.loss(examples.inputs, examples.positions, examples.targets)
        loss.backward()
    return trace


def trace_reading(trial_config: TrialConfig) -> Trace:
    """Evaluation, and, which is what is traced, some steps of decoding."""
    model, batch = build_model(trial_config), trial_config.task.sample(2, 0)
    with whole_trials() as trace:
        there = to_gpu(model).eval()
        evaluate(there, [batch])
        trace.forget()
        with torch.no_grad():
            state = there.initial_state(2)
            for token in batch.inputs.to(GPU, non_blocking=True).unbind(1)[:3]:
                _, state = there.step(token, state)
    return trace


@contextmanager
def whole_trials() -> Iterator[Trace]:
    """A fake GPU for trials from beginning to end: data and initial weights are real."""
    sample, batch, begin = MQAR.sample, TrainingData.batch, TrainingData.__init__

    def real(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with unset_fake_temporarily():
                return function(*args, **kwargs)

        return call

    optimizers: list[tuple[LanguageModel, torch.optim.Optimizer]] = []

    def made(model: LanguageModel, train: TrainConfig) -> torch.optim.Optimizer:
        optimizers.append((model, make_optimizer(model, train)))
        return optimizers[-1][1]

    def to(model: LanguageModel, device: Any) -> LanguageModel:
        before = list(model.parameters())
        to_gpu(model, torch.device(device))
        new = dict(zip(before, model.parameters(), strict=True))
        for _, optimizer in (each for each in optimizers if each[0] is model):
            for part in (optimizer, *members(optimizer)):
                _replace_parameters(part, new)
        return model

    with ExitStack() as changed:
        for module in (trial, population, rehearsal):
            changed.enter_context(mock.patch.object(module, "build_model", real(build_model)))
        for module in (trial, population, agreement):
            changed.enter_context(mock.patch.object(module, "make_optimizer", made))
        for module in (rehearsal, agreement):  # without numbers there is nothing to compare
            changed.enter_context(mock.patch.object(module, "first_change", return_value=None))
        for module in (trial, population):
            changed.enter_context(mock.patch.object(module, "resolve_device", return_value=GPU))
        for target, name, value in (
            (MQAR, "sample", real(sample)),
            (TrainingData, "batch", real(batch)),
            (TrainingData, "__init__", real(begin)),
            (trial, "describe_device", str),
            (LanguageModel, "to", to),
            (program, "capture_on", lambda _: None),
            (torch.random, "fork_rng", lambda *_, **__: nullcontext()),
        ):
            changed.enter_context(mock.patch.object(target, name, value))
        trace = changed.enter_context(fake_gpu())
        changed.enter_context(numbers_are_one())
        yield trace


@contextmanager
def numbers_are_one() -> Iterator[None]:
    """Whoever asks a fake tensor of the CPU for its numbers gets ones."""
    with_numbers = Tensor.numpy

    def ones(tensor: Tensor) -> np.ndarray:
        if tensor.device.type == "cuda":
            raise TypeError("can't convert a cuda tensor to numpy: it has to be copied first")
        return np.ones(tuple(tensor.shape), torch.empty(0, dtype=tensor.dtype).numpy().dtype)

    def numpy(tensor: Tensor) -> np.ndarray:
        if not isinstance(tensor, FakeTensor):
            return with_numbers(tensor)
        with unset_fake_temporarily():
            return ones(tensor)

    def tolist(tensor: Tensor) -> Any:
        return numpy(tensor.cpu()).tolist()

    with (
        mock.patch.object(Tensor, "numpy", numpy),
        mock.patch.object(FakeTensor, "tolist", tolist),
    ):
        yield


def _replace_parameters(optimizer: torch.optim.Optimizer, new: dict[Tensor, Tensor]) -> None:
    """A real model's parameters stay what they are when it is moved."""
    for group in optimizer.param_groups:
        group["params"] = [new.get(p, p) for p in group["params"]]
    state = {new.get(p, p): kept for p, kept in optimizer.state.items()}
    optimizer.state.clear()
    optimizer.state.update(state)


def _trials(trial_config: TrialConfig) -> list[Trained]:
    models = [build_model(trial_config) for _ in range(MODELS)]
    run, valid = Run(trial_config, _Again(trial_config)), [trial_config.task.sample(4, 1)]
    return [
        Trained(run, model, make_optimizer(model, trial_config.train), valid) for model in models
    ]


class _Again:
    """Training data that are the same at every step."""

    def __init__(self, trial_config: TrialConfig) -> None:
        self._batch = trial_config.task.sample(trial_config.train.batch_size, 0)
        self.steps_per_epoch = 1

    def batch(self, _: int) -> Batch:
        return self._batch
