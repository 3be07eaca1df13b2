"""Many trials of one shape as one program, for a device that a single small model leaves idle.

Each trial gives what it gives alone, up to rounding: it has its own weights, examples, rate and
decay, and its gradient is clipped by its own norm. Trials that have ended are taken out.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.config import digest
from recollect.errors import summary
from recollect.models.language_model import LanguageModel
from recollect.own_functions import is_own
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric
from recollect.training.agreement import compare_gradients, refuse_what_a_stack_drops
from recollect.training.checkpoint import build_model
from recollect.training.config import TrialConfig
from recollect.training.data import TrainingData, held_out
from recollect.training.device import resolve_device
from recollect.training.evaluate import in_parts, metrics
from recollect.training.observer import Observer
from recollect.training.optimizer import end_training, evaluated_weights, make_optimizer
from recollect.training.optimizer_name import optimizer_label
from recollect.training.ranks import ALONE
from recollect.training.rehearsal import CannotBeStacked, rehearse
from recollect.training.result import Record, TrialResult
from recollect.training.run import Run
from recollect.training.slot import Slot, as_slot
from recollect.training.stack import Stack
from recollect.training.trial import (
    CHECKPOINT_SECONDS,
    go_on,
    run_trial,
    save,
    test_metrics,
    trial_result,
)

OnRecord = Callable[[int, Record], None]
Results = Iterator[tuple[int, TrialResult]]
Source = tuple[int, int]
"""Seeds of examples and order: trials that share them see the same."""


def shape_of(config: TrialConfig) -> str:
    """What trials of one program have in common: all but learning rate, weight decay and seeds.

    A mixture's examples differ in length from step to step in an order of the seeds' own, so that
    its trials share these too.
    """
    plain = config.model_dump(mode="json")
    own = [(plain["train"], "learning_rate"), (plain["train"], "weight_decay")]
    if len(config.task.components) == 1:
        own.append((plain, "seeds"))
    for settings, name in own:
        del settings[name]
    return digest(plain)


def run_population(
    configs: Sequence[TrialConfig],
    *,
    device: str = "cpu",
    until: int | None = None,
    checkpoints: Sequence[Slot | Path] | None = None,
    on_record: OnRecord | None = None,
    observers: Sequence[Observer | None] | None = None,
) -> Results:
    """Run trials, or go on with them: those of one shape and step as one program.

    Models that cannot run as one (they draw random numbers, as dropout does, change themselves in
    their forward pass, have hooks on their gradients, keep views of parameters, or do what
    `torch.func.vmap` cannot follow), those whose gradients are then others, and those with a user's
    optimiser are trained one at a time, with a warning that says why. Where memory runs out, fewer
    are trained at once.

    Args:
        configs: the trials.
        device: as in `trial.train`.
        until: as in `run_trial`, for all of them.
        checkpoints: as in `run_trial`, one for each.
        on_record: called at every validation, with the place of the trial in `configs`.
        observers: as in `run_trial`, one for each; they look at one model after the other.

    Yields:
        Each trial's place in `configs` and its result, as soon as it has ended.
    """
    given: Sequence[Slot | Path | None] = checkpoints or [None] * len(configs)
    slots = [None if each is None else as_slot(each) for each in given]
    watching: Sequence[Observer | None] = observers or [None] * len(configs)
    population = _Population(resolve_device(device), until, on_record or _ignore)
    members = [
        population.member(place, config, slot, observer)
        for place, (config, slot, observer) in enumerate(zip(configs, slots, watching, strict=True))
    ]
    groups: dict[tuple[str, int], list[_Member]] = {}
    for member in members:
        groups.setdefault((member.shape, member.run.step), []).append(member)
    for group in groups.values():
        yield from population.run(group)


@dataclass(eq=False)
class _Member:
    """A trial of a population.

    Attributes:
        place: in the population.
        shape: what it shares with those it can be trained with as one.
        run: how far it has come.
        model: its weights, and
        optimizer: what it keeps between steps; both are out of date while they are in a stack.
        valid: what it is validated on.
        checkpoint: where it is saved.
    """

    place: int
    shape: str
    run: Run
    model: LanguageModel
    optimizer: torch.optim.Optimizer
    valid: list[Batch]
    checkpoint: Slot | None

    @property
    def further(self) -> tuple[Metric, ...]:
        """What it is measured by besides loss and accuracy."""
        return self.run.config.metrics_on(self.run.config.task)

    @property
    def source(self) -> Source:
        """Where its examples come from."""
        return self.run.config.seeds.data, self.run.config.seeds.order

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        if self.checkpoint is not None:
            save(self.run, self.model, self.optimizer, self.checkpoint)


class _Population:
    """What the groups of a population share."""

    def __init__(self, device: torch.device, until: int | None, on_record: OnRecord) -> None:
        self._device, self._until, self._on_record = device, until, on_record
        self._examples: dict[tuple[str, Source], tuple[TrainingData, list[Batch]]] = {}

    def member(
        self, place: int, config: TrialConfig, checkpoint: Slot | None, observer: Observer | None
    ) -> _Member:
        """A trial at its beginning, or where its checkpoint was made."""
        shape, source = shape_of(config), (config.seeds.data, config.seeds.order)
        if (shape, source) not in self._examples:
            data = TrainingData(config.task, config.train, config.seeds)
            valid = held_out(config.task, config.train.valid_examples, config.seeds, "valid")
            self._examples[shape, source] = data, valid
        data, valid = self._examples[shape, source]
        run, model = Run(config, data, observer), build_model(config).to(self._device)
        optimizer = make_optimizer(model, config.train)
        if checkpoint is not None:
            go_on(run, model, optimizer, checkpoint)
        return _Member(place, shape, run, model, optimizer, valid, checkpoint)

    def run(self, members: list[_Member]) -> Results:
        """Run a group to its end."""
        yield from self._finish(members)
        members = self._going(members)
        if len(members) < 2:
            yield from self._one_at_a_time(members)
            return
        half = 0
        try:
            stack = self._stack(members)
        except torch.OutOfMemoryError:
            half = len(members) // 2  # tried below, where the error holds on to no memory any more
        except Exception as error:  # whatever a user's mixer raises, it raises alone too
            label = members[0].run.config.model.label
            reason = f"{label} is trained one model at a time: {summary(error)}"
            warnings.warn(reason, stacklevel=2)
            yield from self._one_at_a_time(members)
            return
        if half:
            yield from self.run(members[:half])
            yield from self.run(members[half:])
        else:
            yield from self._together(members, stack)

    def _stack(self, members: list[_Member]) -> Stack:
        """The members as one, after a rehearsal that shows whether they can be."""
        optimizer = members[0].run.config.train.optimizer
        if is_own(optimizer):
            raise CannotBeStacked(f"{optimizer_label(optimizer)} makes its optimiser")
        refuse_what_a_stack_drops(members[0].model)
        rehearse(members[0].run.config, self._device)
        for member in members:
            member.run.lost = ""
        parts = [m.model for m in members], [m.optimizer for m in members], members[0].run.step
        rehearsed = Stack(*parts)
        self._steps(members, rehearsed, parts[2] + 1)
        few = {member.source: member.valid[0][:1] for member in members}
        rehearsed.scores(self._side_by_side(members, few), members[0].further)
        compare_gradients(members[0].run.config, self._device)
        return Stack(*parts)

    def _together(self, members: list[_Member], stack: Stack) -> Results:
        """Train until none is left, from validation to validation."""
        saved = time.perf_counter()
        for member in members:
            if member.run.step == 0:
                member.run.observe(member.model)
        while members:
            began = time.perf_counter()
            due = members[0].run.next_validation()
            end = due if self._until is None else min(due, self._until)
            losses = self._steps(members, stack, end).tolist()
            for member, own in zip(members, losses, strict=True):
                member.run.took(own)
                member.run.seconds += (time.perf_counter() - began) / len(members)
            if end == due:
                self._validate(members, stack)
            if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                for row, member in enumerate(members):
                    stack.write_back(row)
                    member.save()
                saved = time.perf_counter()
            going = self._going(members)
            if len(going) < len(members):
                for row, member in enumerate(members):
                    if member not in going:
                        stack.write_back(row)
                yield from self._finish(members)
                if going:
                    stack.keep([members.index(member) for member in going])
                members = going

    def _steps(self, members: list[_Member], stack: Stack, end: int) -> Float[Tensor, "P steps"]:
        """The losses of all steps up to `end`."""
        steps, train = range(members[0].run.step, end), members[0].run.config.train
        weight = members[0].model.head.weight
        rates = weight.new_tensor([[m.run.learning_rate(s) for m in members] for s in steps])
        data = {m.source: m.run.data for m in members}
        losses = []
        for step, rate in zip(steps, rates, strict=True):
            batches = {source: each.batch(step) for source, each in data.items()}
            losses.append(stack.step(self._side_by_side(members, batches), rate, train))
        return torch.stack(losses, dim=1)

    def _validate(self, members: list[_Member], stack: Stack) -> None:
        """A record for every member that has not diverged."""
        per_answer = members[0].run.config.task.vocab_size * len(members)
        further = members[0].further
        parts = {m.source: list(in_parts(m.valid, per_answer, self._device)) for m in members}
        scores = sum(
            stack.scores(
                self._side_by_side(members, dict(zip(parts, together, strict=True))), further
            )
            for together in zip(*parts.values(), strict=True)
        )
        assert isinstance(scores, Tensor)
        for member, score in zip(members, scores.cpu(), strict=True):
            if not member.run.diverged:
                valid = metrics(score, parts[member.source], further)
                member.run.validated(valid, partial(self._on_record, member.place))
        for row, member in enumerate(members):
            if member.run.observer is not None:
                stack.write_back(row)
                with evaluated_weights(member.model, member.optimizer):
                    member.run.observe(member.model)

    def _side_by_side(self, members: list[_Member], batches: dict[Source, Batch]) -> Batch:
        """Every member's examples, with a leading P, from those of each source."""
        places = {source: i for i, source in enumerate(batches)}
        rows = torch.tensor([places[m.source] for m in members], device=self._device)
        there = [batch.to(self._device) for batch in batches.values()]
        return Batch.of(
            {
                name: torch.stack([batch.tensors()[name] for batch in there])[rows]
                for name in there[0].tensors()
            }
        )

    def _going(self, members: list[_Member]) -> list[_Member]:
        return [m for m in members if m.run.status(self._until) is None]

    def _finish(self, members: list[_Member]) -> Results:
        """The results of those that have ended."""
        for member in members:
            run, model = member.run, member.model
            status = run.status(self._until)
            if status is None:
                continue
            if status == "stopped":
                member.save()
            end_training(member.optimizer)
            test = test_metrics(run.config, model, ALONE) if status == "complete" else {}
            yield member.place, trial_result(run, status, test, model)

    def _one_at_a_time(self, members: list[_Member]) -> Results:
        for member in members:
            yield (
                member.place,
                run_trial(
                    member.run.config,
                    device=str(self._device),
                    until=self._until,
                    checkpoint=member.checkpoint,
                    on_record=partial(self._on_record, member.place),
                    observer=member.run.observer,
                ),
            )


def _ignore(*_: object) -> None:
    """The callback that does nothing."""
