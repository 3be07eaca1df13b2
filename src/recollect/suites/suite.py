"""A suite: named tasks, and the studies that tune any mixer on them in the same way.

recollect suite recall mine.py:Mixer
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from recollect.errors import unknown
from recollect.models.config import ModelConfig
from recollect.registry import Registry
from recollect.studies.narrow import override
from recollect.studies.search import AnySearch, BestRateSearch
from recollect.studies.study import Study
from recollect.tasks.task import Task
from recollect.training.config import TrainConfig

BudgetName = Literal["quick", "standard", "paper"]
BUDGETS: tuple[BudgetName, ...] = get_args(BudgetName)


@dataclass(frozen=True)
class Budget:
    """The training budget of every mixer on every task of a suite.

    Attributes:
        steps: the most steps of a trial; a trial ends early when the task is solved.
        batch_size: examples per step.
        eval_every: steps between validations.
        seeds: seeds for which the chosen rate is reported.
        search: how the learning rate is chosen.
    """

    steps: int
    batch_size: int
    eval_every: int
    seeds: tuple[int, ...]
    search: AnySearch


SIZES: dict[BudgetName, Budget] = {
    "quick": Budget(
        steps=1000,
        batch_size=64,
        eval_every=50,
        seeds=(42,),
        search=BestRateSearch(low=1e-3, high=1e-2, refine=0, search_seeds=0),
    ),
    "standard": Budget(
        steps=4000,
        batch_size=64,
        eval_every=100,
        seeds=(42, 123, 777),
        search=BestRateSearch(low=1e-3, high=1e-2, refine=0, search_seeds=1),
    ),
    "paper": Budget(
        steps=20_000,
        batch_size=128,
        eval_every=500,
        seeds=(42, 123, 777),
        search=BestRateSearch(low=3e-4, high=1e-2, refine=1, search_seeds=1),
    ),
}


@dataclass(frozen=True)
class Part:
    """A task of a suite.

    Attributes:
        name: the heading of its column.
        task: the task for training and testing.
        longer: a longer task for testing only.
        metric: the metric that chooses rates and is reported; None: accuracy.
        train: values of `TrainConfig` fields that differ from the budget.
    """

    name: str
    task: Task
    longer: Task | None = None
    metric: str | None = None
    train: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """What the paper of a suite prescribes, in place of what all suites share.

    Attributes:
        model: values of `ModelConfig` fields, the same for all models.
        search: how the learning rate is chosen.
    """

    model: Mapping[str, Any]
    search: AnySearch


@dataclass(frozen=True)
class Suite:
    """A set of tasks.

    Attributes:
        title: what it measures, in one line.
        parts: gives its tasks at a budget.
        protocols: the budgets at which it has a protocol of its own.
    """

    title: str
    parts: Callable[[BudgetName], Sequence[Part]]
    protocols: Mapping[BudgetName, Protocol]


SUITES: Registry[Suite] = Registry("suite", "recollect.suites")
Parts = Callable[[BudgetName], Sequence[Part]]


def register_suite(
    name: str, title: str, *, protocols: Mapping[BudgetName, Protocol] | None = None
) -> Callable[[Parts], Parts]:
    """Register a function that gives a suite's tasks at a budget.

    Args:
        name: the name that users type.
        title: what it measures, in one line.
        protocols: the budgets at which the suite has a protocol of its own; None: none.
    """

    def register(parts: Parts) -> Parts:
        SUITES.add(name, Suite(title, parts, protocols or {}))
        return parts

    return register


def suite_parts(name: str, budget: str) -> Sequence[Part]:
    """The tasks of a suite.

    Raises:
        UserError: for an unknown suite or budget.
    """
    return SUITES[name].parts(_known(budget))


def suite_model(
    name: str, budget: str, model: ModelConfig, width: int | None = None
) -> ModelConfig:
    """The model as a suite trains it at a budget.

    Args:
        name: the suite.
        budget: "quick", "standard" or "paper".
        model: the mixer in the backbone that all suites share.
        width: d_model; None: that of the suite's protocol, or of `model` if there is none.

    Raises:
        UserError: as in `suite_parts`.
    """
    protocol = SUITES[name].protocols.get(_known(budget))
    changes = dict(protocol.model) if protocol is not None else {}
    if width is not None:
        changes["d_model"] = width
    return model.replace(**changes)


def suite_studies(
    name: str,
    models: Iterable[ModelConfig],
    budget: str = "standard",
    settings: Sequence[str] = (),
) -> tuple[Study, ...]:
    """The studies of a suite.

    Tasks without a longer test or a metric of their own share a study; each other task has its own.

    Args:
        name: the suite.
        models: the models to tune on each task, from `suite_model`.
        budget: "quick", "standard" or "paper".
        settings: changes to the budget, each `key=value` (see `narrow.override`).

    Raises:
        UserError: as in `suite_parts`.
    """
    size, models = _budget(name, _known(budget)), tuple(models)
    return tuple(
        override(
            Study(
                study,
                title=f"{SUITES[name].title} ({budget} budget)",
                tasks=[part.task for part in parts],
                test_tasks=[part.longer for part in parts if part.longer is not None],
                train_overrides={part.task.label: part.train for part in parts if part.train},
                models=models,
                **_tuning(size, parts[0].metric),
            ),
            settings,
        )
        for study, parts in by_study(name, budget, settings).items()
    )


def by_study(name: str, budget: str, settings: Sequence[str] = ()) -> dict[str, list[Part]]:
    """The tasks of a suite by the name of their study.

    Changed settings give another study name, so that no table mixes both.

    Raises:
        UserError: as in `suite_parts`.
    """
    found: dict[str, list[Part]] = {}
    times: Counter[str] = Counter()
    for part in suite_parts(name, budget):
        label = part.task.label
        times[label] += 1
        own = f"-{part.name}" if part.longer is not None else f"-{part.metric}" * bool(part.metric)
        # a study may contain a task only once
        again = f"-{times[label]}" if times[label] > 1 else ""
        changed = f" ({', '.join(words)})" if (words := study_settings(settings)) else ""
        found.setdefault(f"suite-{name}-{budget}{own}{again}{changed}", []).append(part)
    return found


def changed_parts(name: str, budget: str, settings: Sequence[str] = ()) -> dict[str, list[Part]]:
    """The tasks of `by_study`, with the values that settings give them, as in `suite_studies`.

    Raises:
        UserError: as in `suite_studies`.
    """
    groups = by_study(name, budget, settings)
    of_tasks = [setting for setting in settings if not setting.startswith("model.")]
    anything = ModelConfig(mixer="attention", d_model=8)  # the tasks do not depend on the model
    studies = suite_studies(name, [anything], budget, of_tasks)
    return {
        name: [replace(part, task=task) for part, task in zip(parts, study.tasks, strict=True)]
        for (name, parts), study in zip(groups.items(), studies, strict=True)
    }


def study_settings(settings: Sequence[str]) -> list[str]:
    """The settings of training, search and task; tables show those of models as the recipe."""
    return sorted(setting for setting in settings if not setting.startswith("model."))


def _known(budget: str) -> BudgetName:
    for each in BUDGETS:
        if each == budget:
            return each
    raise unknown("budget", budget, BUDGETS)


def _budget(name: str, budget: BudgetName) -> Budget:
    """The budget of a suite, with the search of its own protocol if it has one."""
    protocol = SUITES[name].protocols.get(budget)
    return SIZES[budget] if protocol is None else replace(SIZES[budget], search=protocol.search)


def _tuning(size: Budget, metric: str | None) -> dict[str, Any]:
    """The training, search and seeds of every cell."""
    return {
        "train": TrainConfig(
            steps=size.steps,
            batch_size=size.batch_size,
            eval_every=size.eval_every,
            valid_examples=500,
            test_examples=1000,
        ),
        "search": size.search.replace(metric=metric),
        "seeds": size.seeds,
    }
