"""The base class of tasks, frozen configs that sample batches, and the catalogue of tasks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from enum import Enum
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, SerializeAsAny, model_serializer
from torch import Tensor

from recollect.config import Config
from recollect.errors import UserError
from recollect.identity import class_name, import_class, is_ours, resolve, source_digest
from recollect.registry import Registry
from recollect.seeding import derive_seed
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric

Split = Literal["train", "valid", "test"]
"""The purpose of examples."""


class Role(Enum):
    """The role of a token in an example; printed examples show it."""

    FILLER = "filler"
    KEY = "key"
    VALUE = "value"
    QUERY = "query"
    MARK = "mark"
    TEXT = "text"

    @property
    def index(self) -> int:
        """The index in `list(Role)`, as returned by `Task.roles`."""
        return list(Role).index(self)


class Task(Config):
    """A task for models, as a frozen config.

    A subclass registers with `@register_task("name")` and defines `label`, `vocab_size` (a field or
    a property), `max_len`, `chance`, `sample` and `roles`.
    """

    name: ClassVar[str] = ""
    numerics: ClassVar[int] = 1
    """The version of the examples, part of a trial's key; raise it when the same config and seed
    give different examples."""
    unsaid: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Values of fields that the serialised form leaves out; a missing field has this value."""

    if TYPE_CHECKING:  # fields in some tasks, properties in others

        @property
        def label(self) -> str:
            """A short name, unique within a study, like `mqar-64x4`."""

        @property
        def vocab_size(self) -> int:
            """The number of token ids."""

        @property
        def max_len(self) -> int:
            """Length of the longest input, in tokens."""

        @property
        def chance(self) -> float:
            """Chance level: the accuracy of the best guess from the input that ignores the
            question."""

    @property
    def vocabulary(self) -> str | None:
        """A digest of the meaning of token ids; None if they have no fixed meaning, so that any
        model with equally many token ids can read them."""
        return None

    @property
    def filler_token(self) -> int | None:
        """The token id that fills empty places and has no effect on answers; None if there is none.

        Mixers with an option `filler` receive it.
        """
        return None

    @property
    def guess_loss(self) -> float | None:
        """The loss in nats of a model that has learnt nothing, if trials are judged by loss.

        None if they are judged by accuracy. The learning-rate search uses it (`studies.cell`).
        """
        return None

    @property
    def marginal_loss(self) -> float | None:
        """The loss in nats of the best answer without the input; None if unknown.

        A loss that falls to this level shows no recall.
        """
        return None

    @property
    def answer_bits(self) -> float | None:
        """The entropy in bits of an example's answers, given its questions.

        It is set only if a causal model must hold all answers at once; else None. Minus the
        cross-entropy of the answers, it is a lower bound on the bits in a model's state.
        """
        return None

    @property
    def first_question(self) -> int | None:
        """The smallest position at which any example may ask; None: unknown, so it is measured.

        A task with `answer_bits` sets it if questions come at random positions.
        """
        return None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics besides loss and accuracy; all components of a task have the same."""
        return ()

    @property
    def components(self) -> tuple[Task, ...]:
        """The tasks with one length each that batches are drawn from; itself if it has one."""
        return (self,)

    @property
    def component_weights(self) -> tuple[int, ...]:
        """Integer weights by which components are drawn; equal by default."""
        return (1,) * len(self.components)

    def component(self, seed: int) -> Task:
        """Return the component that `sample(n, seed)` draws from.

        Args:
            seed: the seed of `sample`.

        Returns:
            One of `components`, each as often as `component_weights` say.
        """
        reached = list(accumulate(self.component_weights))
        return self.components[bisect_right(reached, derive_seed("component", seed) % reached[-1])]

    def split(self, name: Split) -> Task:  # noqa: ARG002
        """Return the task for training, validation or test; by default the task itself.

        Args:
            name: "train", "valid" or "test".

        Returns:
            A task of the same class and label.
        """
        return self

    def sample(self, n: int, seed: int) -> Batch:
        """Sample `n` examples of one length on the CPU; equal seeds give equal bytes.

        If the task has several components, the seed draws the component of the batch.

        Args:
            n: the number of examples.
            seed: the seed of everything that is drawn.

        Returns:
            Inputs (n, L), and positions and targets (n, Q), as `Batch` describes them.
        """
        raise NotImplementedError

    def roles(self, batch: Batch) -> Tensor:
        """Return the role of each token, (n, L), as indices into `list(Role)`.

        Args:
            batch: examples of this task.

        Returns:
            Indices into `list(Role)`, (n, L).
        """
        raise NotImplementedError

    def spell(self, token: int) -> str:
        """Return a readable form of a token.

        Args:
            token: a token id, from 0 to vocab_size - 1.

        Returns:
            A short text.
        """
        return str(token)

    @property
    def identity(self) -> dict[str, Any]:
        """The facts besides its fields that its examples depend on; part of a trial's key."""
        identity: dict[str, Any] = {"task": self.name, "numerics": self.numerics}
        if not is_ours(type(self)):
            identity |= {"class": class_name(type(self)), "source": source_digest(type(self))}
        return identity

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Task], dict[str, Any]]) -> dict[str, Any]:
        stored = {
            name: value
            for name, value in fields(self).items()
            if name not in self.unsaid or getattr(self, name) != self.unsaid[name]
        }
        return self.identity | stored


TASKS: Registry[type[Task]] = Registry("task", "recollect.tasks", "recollect.language.text_task")
TaskClass = TypeVar("TaskClass", bound=type[Task])


REQUIRED = ("label", "vocab_size", "max_len", "chance", "sample")
"""What a task must define, as a field, a property or a method."""


def defines(cls: type[Task], name: str) -> bool:
    """Whether a task's class defines a name, as a field, a property or a method."""
    return name in cls.model_fields or getattr(cls, name, None) is not getattr(Task, name, None)


def register_task(name: str) -> Callable[[TaskClass], TaskClass]:
    """Put a task into the catalogue under `name`, as a class decorator.

    Args:
        name: the name that users type.

    Returns:
        A decorator of the task's class, which it returns as it is. It raises `UserError` if the
        class does not define all of `REQUIRED`.

    Raises:
        ValueError: if the name is taken by another class.
    """

    def register(cls: TaskClass) -> TaskClass:
        lacking = [each for each in REQUIRED if not defines(cls, each)]
        if lacking:
            raise UserError(f"task {name}: {cls.__name__} does not define {', '.join(lacking)}")
        cls.name = name
        TASKS.add(name, cls)
        return cls

    return register


def task(name: str, **settings: Any) -> Task:
    """Return the task of the catalogue with this name, as in `task("mqar", seq_len=64, ...)`.

    Args:
        name: a name that `recollect tasks` lists, or one that you registered.
        settings: the fields of the task's class.

    Returns:
        The task.

    Raises:
        UserError: if the name is unknown, or settings are invalid.
    """
    return TASKS[name](**settings)


def parse_task(value: object) -> object:
    """Return the task of a serialised form; anything else is returned unchanged.

    Raises:
        UserError: if its class cannot be found, or has changed.
    """
    if not isinstance(value, dict):
        return value
    cls = _class_of(value)
    fields = {**cls.unsaid} | {key: value[key] for key in value if key in cls.model_fields}
    task = cls(**fields)
    stored = {key: value[key] for key in value if key not in fields}
    if stored | {"class": None} != task.identity | {"class": None}:  # a class may move
        raise UserError(f"the task {cls.name!r} has changed since this was stored")
    return task


def _class_of(stored: Mapping[str, Any]) -> type[Task]:
    """The class of a serialised task; a user's module, which registers it, is imported."""
    name, own = str(stored.get("task")), stored.get("class")
    if isinstance(own, str) and name not in TASKS:
        import_class(resolve(own, stored.get("source")))
    return TASKS[name]


AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(parse_task)]
"""The type of a config field for any task."""
