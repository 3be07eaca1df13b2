"""Studies: every task with every model, each pair tuned on its own.

Shipped studies and users' studies have the same form: a function that returns a complete `Study`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from numbers import Integral
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_serializer, model_validator

from recollect.config import Config, without_defaults
from recollect.errors import UserError, unknown
from recollect.mixers.process_settings import refuse_default_dtype
from recollect.models.config import ModelConfig
from recollect.models.language_model import LanguageModel
from recollect.seeding import Seed
from recollect.studies.cell import Cell
from recollect.studies.judging import directions, guess_of
from recollect.studies.labels import model_label, recipe
from recollect.studies.search import AnySearch, LearningRateSearch
from recollect.studies.variant import Variant
from recollect.tasks.facts import check_facts, check_registered
from recollect.tasks.task import AnyTask, Task
from recollect.training.config import TrainConfig, TrialConfig, numerics_of
from recollect.training.data import check_examples
from recollect.training.edits import warn_of_edited_code
from recollect.training.optimizer import make_optimizer
from recollect.training.shortcuts import warn_of_shortcuts
from recollect.training.untrained import untrained_positions, untrained_weights

NAME_CHARACTERS = 200
"""Longest name of a study, which appears in titles, tables and messages."""
SEARCH_ALONE = "; a search alone does not make another variant: use two studies to compare searches"


class Study(Config):
    """A set of trials: every model is tuned and trained on every task.

    `tasks`, `models`, `variants`, `seeds` and `test_tasks` can be given as one value or several.

    Attributes:
        name: name of the study in a store and on the command line.
        tasks: the tasks to train on.
        models: the architectures.
        train: how models are trained; the search chooses the learning rate.
        train_overrides: training settings of single tasks, by task label:
            `{"mqar-512x64": {"batch_size": 128}}`.
        search: how learning rates are chosen.
        variants: ways of training to compare; every model is tuned on each task in each variant.
            Empty: `train` and `search` are the only one.
        seeds: the seeds on which the chosen rate runs; results are reported over these.
        test_tasks: further tasks on which every cell is tested.
        observe: whether models are observed in training (`analysis.dynamics`), which does not
            change it; stored trials without observations are run again.
        title: one line that says what the study shows.

    Raises:
        UserError: for values that do not fit together.
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
            variants: Variant | Sequence[Variant] = ...,
            seeds: int | Sequence[int] = ...,
            test_tasks: Task | Sequence[Task] = ...,
            observe: bool = ...,
            title: str = ...,
        ) -> None: ...

    else:

        def __init__(self, name: str | None = None, /, **values: Any) -> None:
            super().__init__(**({} if name is None else {"name": name}), **values)

    @field_validator("tasks", "models", "variants", "seeds", "test_tasks", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        """Accept a single value."""
        is_whole = isinstance(given, Integral) and not isinstance(given, bool)
        return (given,) if is_whole or isinstance(given, Task | ModelConfig | Variant) else given

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
        for each in (*self.tasks, *self.test_tasks):
            check_facts(each)
        tasks = [task.label for task in self.tasks]
        for label in (*tasks, *map(model_label, self.models)):
            _refuse_unwritable(label)
        for kind, given in (("task", self.tasks), ("test task", self.test_tasks)):
            _refuse_one_label(kind, given)
            _refuse_repeated(kind, [task.label for task in given])
        _refuse_one_name(self.models)
        _refuse_repeated("model", [model_label(model) for model in self.models])
        recipes = [_in_words(way.recipe(self._train(None, way))) for way in self.variants]
        has_own = any(way.search for way in self.variants)
        _refuse_repeated("variant", recipes, SEARCH_ALONE if has_own else "")
        _refuse_repeated("seed", list(map(str, self.seeds)))
        self._refuse_equal_variants()
        for search in (self.search, *(way.search for way in self.variants if way.search)):
            for seed in set(self.seeds) & set(search.own_seeds):
                raise UserError(
                    f"the search chooses rates on the seed {seed}, so its results cannot be"
                    f" reported: use seeds other than {list(search.own_seeds)}"
                )
        for task, changes in self.train_overrides.items():
            if task not in tasks:
                raise unknown("task in train_overrides", task, tasks)
            if "learning_rate" in changes:
                raise UserError(f"train_overrides[{task!r}]: the search chooses the learning_rate")
        for task, way in product(tasks, self.ways):
            self._train(task, way)
        return self

    def _refuse_equal_variants(self) -> None:
        """Refuse variants that would give two table rows of the same trials."""
        for one, other in combinations(self.ways, 2):
            trains = [[self._train(task.label, way) for task in self.tasks] for way in (one, other)]
            if trains[0] == trains[1]:
                recipes = [_in_words(way.recipe(self._train(None, way))) for way in (one, other)]
                raise UserError(
                    f"the variants {recipes[0]!r} and {recipes[1]!r} have the same settings as the"
                    " study's `train` or the defaults: leave one of them out"
                )

    @property
    def ways(self) -> tuple[Variant, ...]:
        """The variants; at least one."""
        return self.variants or (Variant(),)

    def metric_directions(self) -> dict[str, bool]:
        """Whether lower is better, for each metric besides loss and accuracy by name.

        Raises:
            UserError: if one name stands for two metrics.
        """
        return directions(
            self._trial(task, model, way)
            for task, way in product(self.tasks, self.ways)
            for model in self.models[:1]
        )

    def cells(self) -> tuple[Cell, ...]:
        """Cells of the study: every task with every model in every variant.

        Raises:
            UserError: if the source of a user's class cannot be read.
        """
        return tuple(
            self._cell(task, model, way)
            for task, model, way in product(self.tasks, self.models, self.ways)
        )

    def check(self) -> None:
        """Build every model and optimiser once, and draw a few examples of users' tasks, so that
        errors are found before training.

        Raises:
            UserError: for values that do not fit together.
        """
        refuse_default_dtype()
        trains = [self._train(task.label, way) for task in self.tasks for way in self.ways]
        warn_of_edited_code((*self.tasks, *self.test_tasks), self.models, trains)
        self.metric_directions()
        check_examples(self.tasks, self.test_tasks)
        for task in self.tasks:
            warn_of_shortcuts(task, self._train(task.label, self.ways[0]))
        for task in (*self.tasks, *self.test_tasks):
            for part in (task, *getattr(task, "tasks", ())):  # those of a mixture
                check_registered(part)
        max_len = max(task.max_len for task in (*self.tasks, *self.test_tasks))
        kinds = {train.optimizer: train for train in trains}
        for model in self.models:
            built = LanguageModel(model, vocab_size=2, max_len=max_len, seed=0)
            for train in kinds.values():
                make_optimizer(built, train)

    def _train(self, task: str | None, way: Variant) -> TrainConfig:
        """Training settings of a task, by label, in a variant; None: a task without overrides."""
        own = self.train_overrides.get(task, {}) if task is not None else {}
        return self.train.replace(**{**own, **way.train})

    def _trial(self, task: Task, model: ModelConfig, way: Variant) -> TrialConfig:
        return TrialConfig(
            task=task,
            test_tasks=tuple(test for test in self.test_tasks if test != task),
            model=model,
            train=self._train(task.label, way),
        )

    def _cell(self, task: Task, model: ModelConfig, way: Variant) -> Cell:
        search = way.search or self.search
        trial = self._trial(task, model, way)
        template = trial.model_dump(
            mode="json", exclude={"train": {"learning_rate"}, "seeds": True}
        )
        return Cell(
            task=task.label,
            mixer=model.label,
            d_model=model.d_model,
            n_layers=model.n_layers,
            recipe=recipe(model, **way.recipe(trial.train)),
            chance=task.chance,
            **guess_of(trial, search.metric),
            marginal_loss=task.marginal_loss,
            seeds=self.seeds,
            search=search,
            numerics=numerics_of(template["model"]),
            template=template,
            test_labels=tuple(test.label for test in trial.test_tasks),
            learned_positions=model.learned_positions if model.positions == "auto" else None,
            untrained_positions=untrained_positions(trial),
            untrained_weights=untrained_weights(trial),
        )


def _refuse_repeated(kind: str, names: Sequence[str], hint: str = "") -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(f"the {kind} {repeated[0]} occurs twice: give each {kind} once{hint}")


def _refuse_one_label(kind: str, tasks: Sequence[Task]) -> None:
    """Refuse different tasks of one label: tables could not tell them apart."""
    for one, other in combinations(tasks, 2):
        if one.label == other.label and one != other:
            raise UserError(
                f"two {kind}s with different settings have the label {one.label}: let the label"
                " name what differs"
            )


def _refuse_one_name(models: Sequence[ModelConfig]) -> None:
    """Refuse models with different mixers of one name: tables could not tell them apart."""
    known: dict[str, ModelConfig] = {}
    for model in models:
        label = model_label(model)
        if known.setdefault(label, model).mixer != model.mixer:
            raise UserError(f"two mixers have the name {model.label}: rename the class of one")


def _in_words(recipe: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in recipe.items()) or "without changes"


def _refuse_unwritable(label: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{label!r} cannot be stored: {error.reason}") from None
