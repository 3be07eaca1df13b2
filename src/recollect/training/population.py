"""Populations: many trials of one shape trained as one program, to fill a GPU with small models.

Up to rounding, each trial gives the same result as alone: it has its own weights, examples, rates
and dropout masks, and its gradient is clipped by its own norm. Finished trials leave the program.
Waiting models lie in the host's memory.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from recollect.config import digest
from recollect.errors import summary
from recollect.own_functions import is_own
from recollect.tasks.batch import Batch
from recollect.training.agreement import compare_gradients, refuse_what_a_stack_drops
from recollect.training.checkpoint import build_model
from recollect.training.config import TrialConfig
from recollect.training.data import TrainingData, held_out
from recollect.training.device import resolve_device
from recollect.training.observer import Observer
from recollect.training.optimizer import end_training, evaluated_weights, make_optimizer
from recollect.training.optimizer_name import optimizer_label
from recollect.training.program import Program, most_models
from recollect.training.ranks import ALONE
from recollect.training.rehearsal import CannotBeStacked, rehearse
from recollect.training.result import Record, TrialResult
from recollect.training.run import Run
from recollect.training.slot import FileSlot, Slot, as_slot
from recollect.training.staging import Source
from recollect.training.trained import Trained
from recollect.training.trial import (
    CHECKPOINT_SECONDS,
    SAVING_SECONDS,
    go_on,
    run_trial,
    save,
    test_metrics,
    trial_result,
)

OnRecord = Callable[[int, Record], None]
Results = Iterator[tuple[int, TrialResult]]


def shape_of(config: TrialConfig) -> str:
    """Digest of what trials of one program share: all but learning rate, weight decay and seeds.

    Trials of a mixture share the seeds too, because these decide the length of each step's batch.
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
    """Run or resume trials; those of the same shape and step are trained as one program.

    On a GPU a single trial is a program too, whose steps are captured as CUDA graphs.

    Some trials are trained one at a time, with a warning that gives the reason: models that draw
    random numbers, change themselves in their forward pass, have gradient hooks, keep views of
    parameters, do what `torch.func.vmap` cannot follow, or get different gradients in a program;
    and trials with a user's optimiser. If memory runs out, fewer are trained at once.

    Args:
        configs: the trials.
        device: as in `trial.train`.
        until: as in `run_trial`, for all trials.
        checkpoints: as in `run_trial`, one per trial.
        on_record: called at every validation with the trial's index in `configs`.
        observers: as in `run_trial`, one per trial; called one after the other.

    Yields:
        Each trial's index in `configs` and its result, as soon as it ends.
    """
    given: Sequence[Slot | Path | None] = checkpoints or [None] * len(configs)
    slots = [None if each is None else as_slot(each) for each in given]
    watching: Sequence[Observer | None] = observers or [None] * len(configs)
    population = _Population(resolve_device(device), until, on_record or _ignore)
    groups: dict[tuple[str, int], list[_Member]] = {}
    for place, (config, slot, observer) in enumerate(zip(configs, slots, watching, strict=True)):
        member = population.member(place, config, slot, observer)
        groups.setdefault((member.shape, member.since), []).append(member)
    while groups:
        yield from population.run(groups.pop(next(iter(groups))))


@dataclass(eq=False)
class _Member(Trained):
    """A trial of a population.

    Attributes:
        place: index in the population.
        shape: trials of the same shape can be trained as one program.
        checkpoint: where it is saved; None: nowhere.
        since: the step at which it was begun or resumed.
    """

    place: int
    shape: str
    checkpoint: Slot | None
    since: int = 0

    def save(self) -> None:
        """Write the checkpoint, if the trial has a place for one."""
        if self.checkpoint is not None:
            save(self, self.checkpoint)


class _Population:
    """Shared settings and examples of a population's groups."""

    def __init__(self, device: torch.device, until: int | None, on_record: OnRecord) -> None:
        self._device, self._until, self._on_record = device, until, on_record
        self._examples: dict[tuple[str, Source], tuple[TrainingData, list[Batch]]] = {}

    def member(
        self, place: int, config: TrialConfig, checkpoint: Slot | None, observer: Observer | None
    ) -> _Member:
        """A trial at its beginning or at its checkpoint."""
        shape, source = shape_of(config), (config.seeds.data, config.seeds.order)
        if (shape, source) not in self._examples:
            data = TrainingData(config.task, config.train, config.seeds)
            valid = held_out(config.task, config.train.valid_examples, config.seeds, "valid")
            self._examples[shape, source] = data, valid
        data, valid = self._examples[shape, source]
        run, model = Run(config, data, observer), build_model(config)
        optimizer = make_optimizer(model, config.train)
        member = _Member(run, model, optimizer, valid, place, shape, checkpoint)
        if checkpoint is not None:
            go_on(member, checkpoint)
        member.since = run.step
        return member

    def run(self, members: list[_Member]) -> Results:
        """Run a group to its end, split into parts that fit into memory."""
        most = most_models(members[0].run.config.train.batch_size)
        waiting = [members[i : i + most] for i in range(0, len(members), most)]
        members.clear()  # frees the models of finished trials
        while waiting:
            group = waiting.pop(0)
            yield from self._finish(group)
            if len(group) > 1 or (group and self._device.type == "cuda"):
                yield from self._as_one(group)
            if len(group) == 1:
                yield self._alone(group.pop())
            elif group:
                half = len(group) // 2
                waiting[:0] = [group[:half], group[half:]]

    def _as_one(self, members: list[_Member]) -> Results:
        """Train until no trial is left or memory runs out."""
        try:
            self._rehearse(members)
            program = Program(members, self._device)
        except torch.OutOfMemoryError:
            return
        except Exception as error:  # errors of a user's mixer recur when it is trained alone
            label = members[0].run.config.model.label
            how = "one model at a time" if len(members) > 1 else "without a CUDA graph"
            reason = f"{label} is trained {how}: {summary(error)}"
        else:
            yield from self._together(members, program)
            return
        warnings.warn(reason, stacklevel=2)
        while members:
            yield self._alone(members.pop(0))

    def _rehearse(self, members: list[_Member]) -> None:
        """Check that the members can be trained as one and fit into memory."""
        config = members[0].run.config
        if is_own(config.train.optimizer):
            label = optimizer_label(config.train.optimizer)
            raise CannotBeStacked(f"its optimiser is a user's function, {label}")
        refuse_what_a_stack_drops(members[0].model)
        rehearse(config, self._device)
        for member in members:
            member.run.lost = ""
        Program(members, self._device).rehearse()
        compare_gradients(config, self._device)

    def _together(self, members: list[_Member], program: Program) -> Results:
        """Train as one program, from validation to validation."""
        saved, pause = time.perf_counter(), CHECKPOINT_SECONDS
        if members[0].run.step == 0:
            self._observe(members, program)
        while members:
            began, step = time.perf_counter(), members[0].run.step
            due = members[0].run.next_validation()
            end = due if self._until is None else min(due, self._until)
            losses = program.steps(end).tolist()
            for member, own in zip(members, losses, strict=True):
                member.run.took(own)
                member.run.seconds += (time.perf_counter() - began) / len(members)
            if len(losses[0]) < end - step:
                program.write_back()
                return
            if end == due:
                self._validate(members, program)
            began = time.perf_counter()
            if began - saved > pause:
                program.write_back()
                for member in members:
                    member.save()
                saved = time.perf_counter()
                pause = CHECKPOINT_SECONDS * max(1.0, (saved - began) / SAVING_SECONDS)
            going = [i for i, m in enumerate(members) if m.run.status(self._until) is None]
            if len(going) < len(members):
                program.write_back(i for i in range(len(members)) if i not in going)
                program.keep(going)
                yield from self._finish(members)

    def _validate(self, members: list[_Member], program: Program) -> None:
        """Validate every member that has not diverged."""
        for member, metrics in zip(members, program.validate(), strict=True):
            if not member.run.diverged:
                member.run.validated(metrics, partial(self._on_record, member.place))
        self._observe(members, program)

    def _observe(self, members: list[_Member], program: Program) -> None:
        """Call the observers of one model after the other."""
        for row, member in enumerate(members):
            if member.run.observer is not None:
                there = member.model.head.weight.device
                member.model.to(self._device)
                program.write_back([row])
                with evaluated_weights(member.model, member.optimizer):
                    member.run.observe(member.model)
                member.model.to(there)

    def _finish(self, members: list[_Member]) -> Results:
        """Remove the members that have ended and yield their results."""
        for member in list(members):
            run = member.run
            status = run.status(self._until)
            if status is None:
                continue
            members.remove(member)
            if status == "stopped":
                member.save()
            end_training(member.optimizer)
            model = member.model.to(self._device)
            test = test_metrics(run.config, model, ALONE) if status == "complete" else {}
            yield member.place, trial_result(run, status, test, model)

    def _alone(self, member: _Member) -> tuple[int, TrialResult]:
        """Train one member by itself from its current step; it is handed over by its checkpoint or
        by a temporary one."""
        with TemporaryDirectory() as folder:
            slot = member.checkpoint
            if member.run.step > member.since:
                slot = slot or FileSlot(Path(folder) / "checkpoint.safetensors")
                save(member, slot)
            del member.model, member.optimizer
            result = run_trial(
                member.run.config,
                device=str(self._device),
                until=self._until,
                checkpoint=slot,
                on_record=partial(self._on_record, member.place),
                observer=member.run.observer,
            )
        return member.place, result


def _ignore(*_: object) -> None:
    """No-op callback."""
