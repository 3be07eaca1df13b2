"""Trials of one shape trained as one program: their examples, steps and validation.

Dimensions: P models, S sources of examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.tasks.batch import Batch
from recollect.training.captured import Captured, capture_on
from recollect.training.config import drops
from recollect.training.evaluate import SEQUENCES_AT_ONCE, in_parts, metrics
from recollect.training.result import Metrics
from recollect.training.stack import Stack
from recollect.training.staging import Source, Staging, Tensors
from recollect.training.step import dropout_key
from recollect.training.step_numbers import Numbers
from recollect.training.trained import Trained


def most_models(batch_size: int) -> int:
    """Largest number of models in a program: together they may have `SEQUENCES_AT_ONCE`
    sequences."""
    return max(1, SEQUENCES_AT_ONCE // batch_size)


class Program:
    """Some trials, all at the same step.

    Args:
        trials: trials of one shape.
        device: where they are trained.
        captured: whether steps are captured as CUDA graphs, on devices that have them.
    """

    def __init__(
        self, trials: Sequence[Trained], device: torch.device, *, captured: bool = True
    ) -> None:
        self._trials, self._device = list(trials), device
        self._config = trials[0].run.config
        parts = trials[0].model.modules()
        draws = any(getattr(part, "draws", False) for part in parts)  # a mixer's own noise
        self._draws = draws or drops(self._config.model.model_dump(mode="json"))
        self._further = self._config.metrics_on(self._config.task)
        self._stack = Stack(
            [trial.model for trial in trials],
            [trial.optimizer for trial in trials],
            trials[0].run.step,
            device,
        )
        capture = capture_on(device) if captured else None
        label = self._config.model.label
        self._step = Captured(self._make_step, self._stack.changed, capture, label)
        self._smaller = 1
        self._settle()

    def _settle(self) -> None:
        """Set up what depends on the current trials."""
        self._staging = Staging([trial.source for trial in self._trials], self._device)
        self._valid: list[tuple[int, dict[Source, Batch], Tensors]] = []

    def rehearse(self) -> None:
        """Try one step with the longest examples and one validation; the program must be discarded
        afterwards."""
        train = self._config.train
        longest = max(self._config.task.components, key=lambda task: task.max_len)
        batch = longest.sample(min(train.batch_size, train.train_examples or train.batch_size), 0)
        self._make_step(
            self._arguments(dict.fromkeys(self._staging.sources, batch), self._numbers(1)[0])
        )
        few = {trial.source: trial.valid[0][:1] for trial in self._trials}
        examples = self._staging.for_each_model(self._staging.to_device(few))
        self._stack.scores(examples, self._further)

    def steps(self, end: int) -> Float[Tensor, "P steps"]:
        """Train up to step `end`; returns the losses of its steps, fewer if memory ran out."""
        first = self._trials[0].run.step
        numbers = self._numbers(end - first)
        data = {trial.source: trial.run.data for trial in self._trials}
        losses = [torch.empty(len(self._trials), 0, device=self._device)]
        try:
            for step in range(first, end):
                batches = {source: each.batch(step) for source, each in data.items()}
                arguments = self._arguments(batches, numbers[step - first])
                losses.append(self._step(arguments)[:, None])
                self._stack.steps += 1
        except torch.OutOfMemoryError:
            self._step.forget()
        return torch.cat(losses, dim=1)

    def validate(self) -> list[Metrics]:
        """Validation metrics of each model, diverged ones included."""
        while True:
            try:
                scores = self._scores()
                break
            except torch.OutOfMemoryError:
                self._step.forget()
                if all(len(batch) == 1 for _, part, _ in self._valid for batch in part.values()):
                    raise
                self._smaller, self._valid = 2 * self._smaller, []
        return [
            metrics(score, trial.valid, self._further)
            for trial, score in zip(self._trials, scores.cpu(), strict=True)
        ]

    def write_back(self, places: Iterable[int] | None = None) -> None:
        """Copy the trained values into the models and optimisers of some or all trials."""
        for place in range(len(self._trials)) if places is None else places:
            self._stack.write_back(place)

    def keep(self, places: Sequence[int]) -> None:
        """Continue with these trials only."""
        self._step.forget()
        self._trials = [self._trials[place] for place in places]
        if places:
            self._stack.keep(places)
            self._settle()

    def _numbers(self, count: int) -> Numbers:
        """Learning rates and dropout keys of the next `count` steps."""
        runs = [trial.run for trial in self._trials]
        coming = range(runs[0].step, runs[0].step + count)
        rates = [[run.learning_rate(step) for run in runs] for step in coming]
        if not self._draws:
            return self._stack.numbers(rates)
        return self._stack.numbers(rates, [[dropout_key(run, s) for run in runs] for s in coming])

    def _arguments(self, batches: dict[Source, Batch], numbers: Numbers) -> Tensors:
        return self._staging.to_device(batches) | numbers.tensors()

    def _make_step(self, arguments: Tensors) -> Float[Tensor, " P"]:
        """One training step; reads and writes only tensors that stay in place, so it can be
        captured."""
        numbers = Numbers.of(arguments)
        examples = {k: x for k, x in arguments.items() if k not in numbers.tensors()}
        batch = self._staging.for_each_model(examples)
        return self._stack.step(batch, numbers, self._config.train)

    def _scores(self) -> Float[Tensor, "P S"]:
        """Sums over all validation examples. The examples stay on the device."""
        models, vocab_size = len(self._trials), self._config.task.vocab_size
        if not self._valid:
            per_answer, most = vocab_size * models * self._smaller, most_models(models)
            parts = {
                trial.source: list(in_parts(trial.valid, per_answer, self._device, most))
                for trial in self._trials
            }
            for together in zip(*parts.values(), strict=True):
                batches = dict(zip(parts, (batch for _, batch in together), strict=True))
                self._valid.append((together[0][0], batches, self._staging.to_device(batches)))
        total = torch.zeros((), device=self._device)
        for first, _, examples in self._valid:
            batch = self._staging.for_each_model(examples)
            total = total + self._stack.scores(batch, self._further, first)
        return total
