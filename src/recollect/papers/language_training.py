"""Language models trained at length, some at a time: what is finished stays, what was interrupted
goes on, and what fails takes nothing else with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recollect.errors import UserError
from recollect.execution.failure import TrialFailed
from recollect.execution.workers import Workers, usable_cores
from recollect.language.train import TOKENS_AT_ONCE, Watch, train_language_model
from recollect.language.train_log import Validated
from recollect.papers.language_plan import LanguagePlan
from recollect.training.config import TrialConfig
from recollect.training.device import resolve_device

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Training:
    """The training of a model.

    Attributes:
        model: its name.
        seed: of its windows and initial weights.
        config: what is trained.
        folder: what it goes on from, and leaves.
        device: "cpu", "cuda" or a GPU by its number, such as "cuda:1".
    """

    model: str
    seed: int
    config: TrialConfig
    folder: Path
    device: str

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"{self.model} on seed {self.seed}"

    def run(self, tell: Callable[[Validated], None]) -> Validated:
        """Train, or go on, in this process; `tell` is called with each validation.

        Returns:
            The last validation.
        """
        log = train_language_model(
            self.config,
            self.folder,
            rows=max(1, TOKENS_AT_ONCE // self.config.task.max_len),
            device=self.device,
            watch=Watch(on_validated=tell),
        )
        return log[-1]


OnValidated = Callable[[Training, Validated], None]


def trainings(
    plan: LanguagePlan, learning_rates: Sequence[float], folder: Path, device: str
) -> list[Training]:
    """Those of a plan, each seed of a model in a folder of its own: the same model on another
    content of the text has another folder.

    Args:
        plan: what is trained.
        learning_rates: of the models in their order.
        folder: holds those of the models.
        device: "cpu", "cuda" or "auto".
    """
    place = str(resolve_device(device))
    trials = [
        (model, seed, plan.trial(model, rate, seed))
        for model, rate in zip(plan.models, learning_rates, strict=True)
        for seed in plan.seeds_of(model)
    ]
    return [
        Training(model, seed, trial, folder / f"{model}-{trial.key[:8]}", place)
        for model, seed, trial in trials
    ]


def train_all(
    asked: Sequence[Training],
    *,
    workers: int | None = None,
    on_validated: OnValidated = lambda *_: None,
    on_trained: OnValidated = lambda *_: None,
) -> list[Validated]:
    """Train all that is not trained yet.

    Args:
        asked: what to train.
        workers: processes that train on the CPU, of one thread each, one for each core if not
            given; 0: this process, one after the other, as a GPU always does.
        on_validated: called at every validation.
        on_trained: called with the last validation of each that is done.

    Returns:
        The last validation of each, in their order.

    Raises:
        UserError: if one or several failed, with the reasons; all others are trained nevertheless.
    """
    count = usable_cores() if workers is None else workers
    here = count == 0 or any(training.device != "cpu" for training in asked)
    ended = _here(asked, on_validated) if here else _in_workers(asked, count, on_validated)
    done: dict[str, Validated] = {}
    failed = []
    for training, outcome in ended:
        if isinstance(outcome, Exception):
            failed.append(str(outcome))
        else:
            done[training.config.key] = outcome
            on_trained(training, outcome)
    if failed:
        raise UserError(f"{len(done)} of {len(asked)} trainings are done. " + " ".join(failed))
    return [done[training.config.key] for training in asked]


Ended = tuple[Training, Validated | Exception]


def _here(asked: Iterable[Training], on_validated: OnValidated) -> Iterator[Ended]:
    for training in asked:
        try:
            yield training, training.run(partial(on_validated, training))
        except UserError as error:
            yield training, UserError(f"{training.title}: {error}")
        except Exception as error:
            yield training, TrialFailed(f"{training.title} raised {error!r}")


def _in_workers(
    asked: Iterable[Training], count: int, on_validated: OnValidated
) -> Iterator[Ended]:
    waiting = list(asked)
    with Workers[Training](count, on_validated) as executor:
        while waiting or executor.free < count:
            while waiting and executor.free:
                executor.submit(waiting.pop(0))
            yield from executor.wait(POLL_SECONDS)
