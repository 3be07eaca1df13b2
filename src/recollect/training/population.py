"""Many trials of one shape as one program, for a device that a single small model leaves idle.

Each trial gives what it gives alone, up to rounding: it has its own weights, examples, rate and
decay, and its gradient is clipped by its own norm. Trials that have ended are taken out.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.config import digest
from recollect.models.language_model import LanguageModel
from recollect.tasks.batch import Batch
from recollect.training.checkpoint import build_model, load_checkpoint, save_checkpoint
from recollect.training.config import TrialConfig
from recollect.training.data import held_out
from recollect.training.evaluate import in_parts, metrics
from recollect.training.result import Record, TrialResult
from recollect.training.run import Run
from recollect.training.stack import Stack
from recollect.training.trial import (
    CHECKPOINT_SECONDS,
    make_optimizer,
    resolve_device,
    run_trial,
    test_metrics,
    trial_result,
)

OnRecord = Callable[[int, Record], None]
OnResult = Callable[[int, TrialResult], None]
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
    checkpoints: Sequence[Path] | None = None,
    on_record: OnRecord | None = None,
    on_result: OnResult | None = None,
) -> list[TrialResult]:
    """Run trials, or go on with them: those of one shape and step as one program.

    Models that cannot run as one (they draw random numbers, as dropout does, or do what
    `torch.func.vmap` cannot follow) are trained one at a time, with a warning that says so. Where
    memory runs out, fewer are trained at once.

    Args:
        configs: the trials.
        device: "cpu", "cuda" or "auto".
        until: as in `run_trial`, for all of them.
        checkpoints: as in `run_trial`, one for each.
        on_record: called at every validation, with the place of the trial in `configs`.
        on_result: called when a trial has ended, likewise.

    Returns:
        The results, in the order of `configs`.
    """
    paths: Sequence[Path | None] = checkpoints or [None] * len(configs)
    population = _Population(
        resolve_device(device), until, on_record or _ignore, on_result or _ignore
    )
    members = [
        population.member(place, config, path)
        for place, (config, path) in enumerate(zip(configs, paths, strict=True))
    ]
    for group in _groups(members):
        population.run(group)
    return [population.results[place] for place in range(len(configs))]


@dataclass
class _Member:
    """A trial of a population."""

    place: int
    run: Run
    model: LanguageModel
    optimizer: torch.optim.AdamW
    valid: list[Batch]
    checkpoint: Path | None

    @property
    def source(self) -> Source:
        """Where its examples come from."""
        return self.run.config.seeds.data, self.run.config.seeds.order

    def save(self) -> None:
        if self.checkpoint is not None:
            counts = self.run.counts()
            save_checkpoint(self.checkpoint, self.model, self.optimizer, self.run.history, **counts)


class _Population:
    """What the groups of a population share."""

    def __init__(
        self, device: torch.device, until: int | None, on_record: OnRecord, on_result: OnResult
    ) -> None:
        self.results: dict[int, TrialResult] = {}
        self._device, self._until = device, until
        self._on_record, self._on_result = on_record, on_result

    def member(self, place: int, config: TrialConfig, checkpoint: Path | None) -> _Member:
        """A trial at its beginning, or where its checkpoint was made."""
        run, model = Run.of(config), build_model(config).to(self._device)
        optimizer = make_optimizer(model, config.train)
        if checkpoint is not None and checkpoint.exists():
            run.go_on(*load_checkpoint(checkpoint, model, optimizer))
        valid = held_out(config.task, config.train.valid_examples, config.seeds, "valid")
        return _Member(place, run, model, optimizer, valid, checkpoint)

    def run(self, members: list[_Member]) -> None:
        """Run a group to its end."""
        for member in members:
            if member.run.status(self._until) is not None:
                self._finish(member)
        members = [m for m in members if m.run.status(self._until) is None]
        if len(members) == 1:
            self._one_at_a_time(members)
            return
        try:
            stack = self._stack(members)
        except torch.OutOfMemoryError:
            half = len(members) // 2
            for part in (members[:half], members[half:]):
                self.run(part)
        except (RuntimeError, TypeError, ValueError) as error:
            label = members[0].run.config.model.label
            reason = str(error).partition("\n")[0]
            warnings.warn(f"{label} is trained one model at a time: {reason}", stacklevel=2)
            self._one_at_a_time(members)
        else:
            self._together(members, stack)

    def _stack(self, members: list[_Member]) -> Stack:
        """The members as one, after the rehearsal of a step that shows whether they can be."""
        parts = [m.model for m in members], [m.optimizer for m in members], members[0].run.step
        self._steps(members, Stack(*parts), parts[2] + 1)
        return Stack(*parts)

    def _together(self, members: list[_Member], stack: Stack) -> None:
        """Train until none is left, from validation to validation."""
        saved = time.perf_counter()
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
            members = self._without_ended(members, stack)

    def _steps(self, members: list[_Member], stack: Stack, end: int) -> Float[Tensor, "P steps"]:
        """The losses of all steps up to `end`."""
        steps, clip = range(members[0].run.step, end), members[0].run.config.train.grad_clip
        weight = members[0].model.head.weight
        rates = weight.new_tensor([[m.run.learning_rate(s) for m in members] for s in steps])
        data = {m.source: m.run.data for m in members}
        losses = []
        for step, rate in zip(steps, rates, strict=True):
            batches = {source: each.batch(step) for source, each in data.items()}
            losses.append(stack.step(self._side_by_side(members, batches), rate, clip))
        return torch.stack(losses, dim=1)

    def _validate(self, members: list[_Member], stack: Stack) -> None:
        """A record for every member that has not diverged."""
        logits_per_answer = members[0].run.config.task.vocab_size * len(members)
        parts = {m.source: list(in_parts(m.valid, logits_per_answer)) for m in members}
        scores = sum(
            stack.scores(self._side_by_side(members, dict(zip(parts, together, strict=True))))
            for together in zip(*parts.values(), strict=True)
        )
        assert isinstance(scores, Tensor)
        for member, score in zip(members, scores.cpu(), strict=True):
            if not member.run.diverged:
                valid = metrics(score, parts[member.source])
                member.run.validated(valid, partial(self._on_record, member.place))

    def _side_by_side(self, members: list[_Member], batches: dict[Source, Batch]) -> Batch:
        """Every member's examples, with a leading P, from those of each source."""
        places = {source: i for i, source in enumerate(batches)}
        rows = torch.tensor([places[m.source] for m in members], device=self._device)
        there = [batch.to(self._device) for batch in batches.values()]
        positions = [batch.positions for batch in there if batch.positions is not None]
        return Batch(
            torch.stack([batch.inputs for batch in there])[rows],
            torch.stack(positions)[rows] if positions else None,
            torch.stack([batch.targets for batch in there])[rows],
        )

    def _without_ended(self, members: list[_Member], stack: Stack) -> list[_Member]:
        """Finish those that have ended; the others, alone in the stack."""
        going = [i for i, m in enumerate(members) if m.run.status(self._until) is None]
        for row in set(range(len(members))) - set(going):
            stack.write_back(row)
            self._finish(members[row])
        if 0 < len(going) < len(members):
            stack.keep(going)
        return [members[i] for i in going]

    def _finish(self, member: _Member) -> None:
        """The result of a trial that has ended."""
        run, model = member.run, member.model
        status = run.status(self._until)
        assert status is not None
        test = test_metrics(run.config, model) if status == "complete" else {}
        if member.checkpoint is not None:
            if status == "stopped":
                member.save()
            else:
                member.checkpoint.unlink(missing_ok=True)
        self._end(member.place, trial_result(run, status, test, model))

    def _one_at_a_time(self, members: list[_Member]) -> None:
        for member in members:
            place = member.place
            result = run_trial(
                member.run.config,
                device=str(self._device),
                until=self._until,
                checkpoint=member.checkpoint,
                on_record=partial(self._on_record, place),
            )
            self._end(place, result)

    def _end(self, place: int, result: TrialResult) -> None:
        self.results[place] = result
        self._on_result(place, result)


def _ignore(*_: object) -> None:
    """For whoever wants to hear nothing."""


def _groups(members: Iterable[_Member]) -> list[list[_Member]]:
    """Trials of one shape at one step."""
    groups: dict[tuple[str, int], list[_Member]] = {}
    for member in members:
        groups.setdefault((shape_of(member.run.config), member.run.step), []).append(member)
    return list(groups.values())
