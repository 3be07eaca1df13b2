"""A study: every task with every model, each pair tuned on its own.

A shipped study and a user's own are the same thing: a function that returns a complete `Study`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

from pydantic import Field, field_validator, model_serializer, model_validator
from torch import nn

from recollect.config import Config, without_defaults
from recollect.errors import UserError, unknown
from recollect.mixers.catalogue import MixerSpec
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.registry import Registry
from recollect.seeding import Seed
from recollect.studies.cell import Cell
from recollect.studies.search import AnySearch, LearningRateSearch
from recollect.studies.variant import Variant
from recollect.tasks.metric import BUILT_IN
from recollect.tasks.task import AnyTask, Task
from recollect.training.config import TrainConfig, TrialConfig, numerics_of
from recollect.training.optimizer import make_optimizer

NAME_CHARACTERS = 200
"""A study's name is in titles, tables and messages."""


class Study(Config):
    """Many trials with one question.

    Attributes:
        name: what the study is called in a store and on the command line.
        tasks: what is trained; like models, seeds and test tasks, a single one or several.
        models: the architectures; each is tuned on each task.
        train: the optimisation, whose learning rate the search chooses.
        train_overrides: by the label of a task, what its trials do otherwise: `{"mqar-512x64":
            {"batch_size": 128}}`.
        search: how the learning rate of a cell is found.
        variants: ways of training that are compared; every model is tuned on each task in each of
            them. Empty: there is one, by `train` and `search`.
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
    variants: tuple[Variant, ...] = ()
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
            tasks: Task | Sequence[Task],
            models: ModelConfig | Sequence[ModelConfig],
            train: TrainConfig = ...,
            train_overrides: Mapping[str, Mapping[str, Any]] = ...,
            search: AnySearch = ...,
            variants: Sequence[Variant] = ...,
            seeds: int | Sequence[int] = ...,
            test_tasks: Task | Sequence[Task] = ...,
            observe: bool = ...,
            title: str = ...,
        ) -> None: ...

    else:

        def __init__(self, name: str | None = None, /, **values: Any) -> None:
            super().__init__(**({} if name is None else {"name": name}), **values)

    @field_validator("tasks", "models", "seeds", "test_tasks", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """A single one is taken too."""
        is_one = isinstance(given, Task | ModelConfig | int) and not isinstance(given, bool)
        return (given,) if is_one else given

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Study], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, fields, ("variants",))

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
        _refuse_repeated(
            "variant", [str(way.recipe(self._train(None, way))) for way in self.variants]
        )
        _refuse_repeated("seed", list(map(str, self.seeds)))
        for search in (self.search, *(way.search for way in self.variants if way.search)):
            for seed in set(self.seeds) & set(search.own_seeds):
                raise UserError(
                    f"the seed {seed} is one on which the search chooses rates, so its results"
                    f" cannot be reported: take other seeds than {list(search.own_seeds)}"
                )
        for task, changes in self.train_overrides.items():
            if task not in tasks:
                raise unknown("task in train_overrides", task, tasks)
            if "learning_rate" in changes:
                raise UserError(f"train_overrides[{task!r}]: the search chooses the learning_rate")
        for task, way in product(tasks, self.ways):
            self._train(task, way)
        return self

    @property
    def ways(self) -> tuple[Variant, ...]:
        """How every model is trained on each task; one at least."""
        return self.variants or (Variant(),)

    def cells(self) -> tuple[Cell, ...]:
        """Every task with every model, in each of the ways."""
        return tuple(
            self._cell(task, model, way)
            for task, model, way in product(self.tasks, self.models, self.ways)
        )

    def check(self) -> None:
        """Build every model and optimiser once, so that what cannot be built is known before
        anything is trained.

        Raises:
            UserError: for values that do not fit together.
        """
        max_len = max(task.max_len for task in (*self.tasks, *self.test_tasks))
        trains = [self._train(task.label, way) for task in self.tasks for way in self.ways]
        kinds = {train.optimizer: train for train in trains}
        for model in self.models:
            built = LanguageModel(model, vocab_size=2, max_len=max_len, seed=0)
            for train in kinds.values():
                make_optimizer(built, train)

    def _train(self, task: str | None, way: Variant) -> TrainConfig:
        """How a task, by its label, is trained in one of the ways; None: any other task."""
        own = self.train_overrides.get(task, {}) if task is not None else {}
        changed: TrainConfig = self.train.replace(**{**own, **way.train})
        return changed

    def _cell(self, task: Task, model: ModelConfig, way: Variant) -> Cell:
        train = self._train(task.label, way)
        search = way.search or self.search
        trial = TrialConfig(
            task=task,
            test_tasks=tuple(test for test in self.test_tasks if test != task),
            model=model,
            train=train,
        )
        template = trial.model_dump(
            mode="json", exclude={"train": {"learning_rate"}, "seeds": True}
        )
        return Cell(
            task=task.label,
            mixer=model.label,
            d_model=model.d_model,
            n_layers=model.n_layers,
            recipe=recipe(model, **way.recipe(train)),
            chance=task.chance,
            **_guess(trial, search.metric),
            marginal_loss=task.marginal_loss,
            seeds=self.seeds,
            search=search,
            numerics=numerics_of(template["model"]),
            template=template,
        )


GridMixer = str | type[nn.Module] | MixerSpec | Sequence[str | MixerSpec]
"""A mixer's name, class or spec, or a list of them: a layer pattern."""


def models_grid(
    mixers: str | type[nn.Module] | MixerSpec | Iterable[GridMixer],
    *,
    d_model: int | Sequence[int],
    n_layers: int | Sequence[int] | None = None,
    **recipe: Any,
) -> tuple[ModelConfig, ...]:
    """Every mixer at every depth and width, in the same surroundings.

        rc.models_grid(["attention", rc.mixer("mamba", d_conv=0)], d_model=[64, 128], n_layers=2)

    Args:
        mixers: names, specs, classes, or lists of them: layer patterns; or a single mixer. A list
            is several mixers: a single pattern is a list within one.
        d_model: the widths, or a single one.
        n_layers: the depths, or a single one; None: 2, or as many as a layer pattern has mixers.
        recipe: other settings of `ModelConfig`, alike for all.

    Raises:
        UserError: for what is no mixer, width or depth, and for settings that do not fit together.
    """
    if isinstance(mixers, str | type | MixerSpec):
        mixers = [mixers]
    if not isinstance(mixers, Iterable):
        raise UserError(f"mixers={mixers!r}: expected mixers, such as 'mamba' or ['mamba', 'gla']")
    widths = _sizes("d_model", d_model)
    depths: list[dict[str, int]] = [{}]
    if n_layers is not None:
        depths = [{"n_layers": depth} for depth in _sizes("n_layers", n_layers)]
    return tuple(
        ModelConfig(mixer=mixer, d_model=width, **depth, **recipe)
        for mixer in mixers
        for depth in depths
        for width in widths
    )


def _guess(trial: TrialConfig, name: str | None) -> dict[str, float | None]:
    """What a model that knows nothing gets by what trials are judged by, see `Cell`.

    Raises:
        UserError: for a metric that the trials do not have.
    """
    task = trial.task
    further = {metric.name: metric for metric in trial.metrics_on(task)}
    if name is None:
        return {"guess_loss": task.guess_loss}
    if name == "loss":
        blind = task.guess_loss or math.log(task.vocab_size)
        marginal = blind if task.marginal_loss is None else task.marginal_loss
        return {"guess": max(0.0, 1 - marginal / blind), "guess_loss": blind}
    if name in BUILT_IN:
        return {"guess": None if name == "accuracy" else 0.0}
    if name not in further:
        raise unknown(f"metric of {task.label}", name, [*BUILT_IN, *further])
    metric = further[name]
    if not metric.lower_is_better:
        return {"guess": metric.guess}
    if metric.guess <= 0:
        raise UserError(
            f"a search by {name}, of which lower is better, needs the value of a model that"
            " knows nothing: register it with guess=..., above 0"
        )
    return {"guess": 0.0, "guess_loss": metric.guess}


def _sizes(name: str, given: Any) -> list[int]:
    """One or several whole numbers.

    Raises:
        UserError: for anything else.
    """
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    sizes = [given] if is_one else list(given)
    if not sizes or not all(
        isinstance(each, SupportsIndex) and not isinstance(each, bool) for each in sizes
    ):
        raise UserError(
            f"{name}={given!r}: expected a whole number or a list of them, such as 64 or [64, 128]"
        )
    return [index(each) for each in sizes]


def recipe(model: ModelConfig, **training: Any) -> str:
    """A model's settings besides mixer, width and depth, those that are not the defaults; whose
    initialisation a mixer has that is not part of this package; and settings of training."""
    defaults = ModelConfig(mixer=model.mixer, d_model=model.d_model, n_layers=model.n_layers)
    changed = _differences(_settings(model), _settings(defaults))
    if model.initialisation is not None:
        changed["initialisation"] = model.initialisation
    return ", ".join(f"{name}={value}" for name, value in (changed | training).items())


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
