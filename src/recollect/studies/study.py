"""A study: every task with every model, each pair tuned on its own.

A shipped study and a user's own are the same thing: a function that returns a complete `Study`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator
from torch import nn

from recollect.config import Config
from recollect.errors import UserError, unknown
from recollect.mixers.catalogue import MixerSpec
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.registry import Registry
from recollect.seeding import Seed
from recollect.studies.cell import Cell
from recollect.studies.search import AnySearch, LearningRateSearch
from recollect.tasks.metric import BUILT_IN
from recollect.tasks.task import AnyTask, Task
from recollect.training.config import NUMERICS, TrainConfig, TrialConfig

NAME_CHARACTERS = 200
"""A study's name is in titles, tables and messages."""


class Study(Config):
    """Many trials with one question.

    Attributes:
        name: what the study is called in a store and on the command line.
        tasks: what is trained.
        models: the architectures; each is tuned on each task.
        train: the optimisation, whose learning rate the search chooses.
        train_overrides: by the label of a task, what its trials do otherwise: `{"mqar-512x64":
            {"batch_size": 128}}`.
        search: how the learning rate of a cell is found.
        seeds: every one of which the chosen rate is run on; what is reported is over these.
        test_tasks: what every cell is tested on besides its own task.
        observe: whether models are observed in training (`analysis.dynamics`), which changes
            nothing in their training; a stored trial that was not is run again.
        title: what the study shows, in a line.
    """

    name: str = Field(min_length=1)
    tasks: tuple[AnyTask, ...] = Field(min_length=1)
    models: tuple[ModelConfig, ...] = Field(min_length=1)
    train: TrainConfig = TrainConfig()
    train_overrides: dict[str, dict[str, Any]] = Field(default={})
    search: AnySearch = LearningRateSearch()
    seeds: tuple[Seed, ...] = Field(default=(42, 123, 777), min_length=1)
    test_tasks: tuple[AnyTask, ...] = ()
    observe: bool = False
    title: str = ""

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            /,
            *,
            tasks: Sequence[Task],
            models: Sequence[ModelConfig],
            train: TrainConfig = ...,
            train_overrides: Mapping[str, Mapping[str, Any]] = ...,
            search: AnySearch = ...,
            seeds: Sequence[int] = ...,
            test_tasks: Sequence[Task] = ...,
            observe: bool = ...,
            title: str = ...,
        ) -> None: ...

    else:

        def __init__(self, name: str | None = None, /, **values: Any) -> None:
            super().__init__(**({} if name is None else {"name": name}), **values)

    @field_validator("name")
    @classmethod
    def _is_a_line(cls, name: str) -> str:
        if len(name) > NAME_CHARACTERS or not name.isprintable() or name != name.strip():
            raise UserError(
                f"{name[:50]!r}: expected one line of at most {NAME_CHARACTERS} printable"
                " characters, without spaces at its ends"
            )
        return name

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Study:
        tasks = [task.label for task in self.tasks]
        for label in (*tasks, *map(model_label, self.models)):
            _refuse_unwritable(label)
        _refuse_repeated("task", tasks)
        _refuse_repeated("test task", [task.label for task in self.test_tasks])
        _refuse_repeated("model", [model_label(model) for model in self.models])
        _refuse_repeated("seed", list(map(str, self.seeds)))
        for seed in set(self.seeds) & set(self.search.own_seeds):
            raise UserError(
                f"the seed {seed} is one on which the search chooses rates, so its results cannot"
                f" be reported: take other seeds than {list(self.search.own_seeds)}"
            )
        for task, changes in self.train_overrides.items():
            if task not in tasks:
                raise unknown("task in train_overrides", task, tasks)
            if "learning_rate" in changes:
                raise UserError(f"train_overrides[{task!r}]: the search chooses the learning_rate")
            self.train.replace(**changes)
        return self

    def cells(self) -> tuple[Cell, ...]:
        """Every task with every model."""
        return tuple(self._cell(task, model) for task in self.tasks for model in self.models)

    def check(self) -> None:
        """Build every model once, so that what cannot be built is known before anything is trained.

        Raises:
            UserError: for values that do not fit together.
        """
        max_len = max(task.max_len for task in (*self.tasks, *self.test_tasks))
        for model in self.models:
            LanguageModel(model, vocab_size=2, max_len=max_len, seed=0)

    def _trial(self, task: Task, model: ModelConfig) -> TrialConfig:
        return TrialConfig(
            task=task,
            test_tasks=tuple(test for test in self.test_tasks if test != task),
            model=model,
            train=self.train.replace(**self.train_overrides.get(task.label, {})),
        )

    def _guess(self, trial: TrialConfig) -> dict[str, float | None]:
        """What a model that knows nothing gets by what trials are judged by, see `Cell`.

        Raises:
            UserError: for a metric that the trials do not have.
        """
        task, name = trial.task, self.search.metric
        further = {metric.name: metric for metric in trial.metrics_on(task)}
        if name is None:
            return {"chance": task.chance, "guess_loss": task.guess_loss}
        if name == "loss":
            return {"chance": 0.0, "guess_loss": task.guess_loss or math.log(task.vocab_size)}
        if name in BUILT_IN:
            return {"chance": task.chance if name == "accuracy" else 0.0, "guess_loss": None}
        if name not in further:
            raise unknown(f"metric of {task.label}", name, [*BUILT_IN, *further])
        metric = further[name]
        if not metric.lower_is_better:
            return {"chance": metric.guess, "guess_loss": None}
        if metric.guess <= 0:
            raise UserError(
                f"a search by {name}, of which lower is better, needs the value of a model that"
                f" knows nothing: register it with guess=..., above 0"
            )
        return {"chance": 0.0, "guess_loss": metric.guess}

    def _cell(self, task: Task, model: ModelConfig) -> Cell:
        trial = self._trial(task, model)
        return Cell(
            task=task.label,
            mixer=model.label,
            d_model=model.d_model,
            n_layers=model.n_layers,
            recipe=recipe(model),
            **self._guess(trial),
            marginal_loss=task.marginal_loss,
            seeds=self.seeds,
            search=self.search,
            numerics=NUMERICS,
            template=trial.model_dump(
                mode="json", exclude={"train": {"learning_rate"}, "seeds": True}
            ),
        )


def models_grid(
    mixers: Iterable[str | type[nn.Module] | MixerSpec | Sequence[str | MixerSpec]],
    *,
    d_model: Sequence[int],
    n_layers: Sequence[int] | None = None,
    **recipe: Any,
) -> tuple[ModelConfig, ...]:
    """Every mixer at every depth and width, in the same surroundings.

    Args:
        mixers: names, specs, classes, or lists of them: layer patterns.
        d_model: the widths.
        n_layers: the depths; None: 2, or as many as a layer pattern has mixers.
        recipe: other settings of `ModelConfig`, alike for all.
    """
    depths: list[dict[str, int]] = [{}] if n_layers is None else [{"n_layers": n} for n in n_layers]
    return tuple(
        ModelConfig(mixer=mixer, d_model=width, **depth, **recipe)
        for mixer in mixers
        for depth in depths
        for width in d_model
    )


def recipe(model: ModelConfig) -> str:
    """A model's settings besides mixer, width and depth, those that are not the defaults; and whose
    initialisation a mixer has that is not part of this package."""
    defaults = ModelConfig(mixer=model.mixer, d_model=model.d_model, n_layers=model.n_layers)
    changed = _differences(_settings(model), _settings(defaults))
    if model.initialisation is not None:
        changed["initialisation"] = model.initialisation
    return ", ".join(f"{name}={value}" for name, value in changed.items())


def model_label(model: ModelConfig) -> str:
    """Tells a model from the others of its study."""
    size = f"{model.label} d_model={model.d_model} n_layers={model.n_layers}"
    return f"{size} {recipe(model)}".rstrip()


def _settings(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude={"init": {"foreign"}})


def _differences(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            inner = _differences(value, defaults[name])
            changed |= {f"{name}.{key}": inner[key] for key in inner}
        elif name not in defaults or value != defaults[name]:
            changed[name] = value
    return changed


def _refuse_repeated(kind: str, names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"the {kind} {repeated[0]} is there twice: each {kind} can be named once")


def _refuse_unwritable(label: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{label!r} cannot be stored: {error.reason}") from None


StudyFunction = Callable[[str], Study]
"""Returns the whole study at a scale: "laptop", or "paper" for the size in the paper."""

STUDIES: Registry[StudyFunction] = Registry("study", "recollect.papers")


def register_study(name: str) -> Callable[[StudyFunction], StudyFunction]:
    """Ship the study that a function returns, under `name`."""

    def register(function: StudyFunction) -> StudyFunction:
        STUDIES.add(name, function)
        return function

    return register
