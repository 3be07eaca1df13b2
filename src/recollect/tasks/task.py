"""What a task is: a frozen config that samples batches, and the catalogue of tasks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, SerializeAsAny, model_serializer
from torch import Tensor

from recollect.config import Config
from recollect.errors import UserError
from recollect.identity import class_name, is_ours, source_digest
from recollect.registry import Registry
from recollect.seeding import derive_seed
from recollect.tasks.batch import Batch
from recollect.tasks.metric import Metric

Split = Literal["train", "valid", "test"]
"""What examples are for."""


class Role(Enum):
    """What a token is there for, so that an example can be printed readably."""

    FILLER = "filler"
    KEY = "key"
    VALUE = "value"
    QUERY = "query"
    MARK = "mark"
    TEXT = "text"

    @property
    def index(self) -> int:
        """Its place in `list(Role)`, which is what `Task.roles` gives."""
        return list(Role).index(self)


class Task(Config):
    """A question to a model.

    A subclass registers with `@register_task("name")` and gives `label`, `vocab_size` (a field or a
    property: the number of token ids), `max_len`, `chance`, `sample` and `roles`.
    """

    name: ClassVar[str] = ""
    numerics: ClassVar[int] = 1
    """Raised when the same config and seed come to give other examples: it is part of a trial's
    key."""
    unsaid: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Values that the serialised form leaves out: a form without the field stands for them."""

    @property
    def label(self) -> str:
        """A short name that tells this task from others of a study, like `mqar-64x4`."""
        raise NotImplementedError

    if TYPE_CHECKING:  # a field in some tasks, a property in others

        @property
        def vocab_size(self) -> int:
            """The number of token ids."""

    @property
    def vocabulary(self) -> str | None:
        """What the token ids stand for, as a digest; None where they stand for nothing, and any
        model of as many reads them."""
        return None

    @property
    def max_len(self) -> int:
        """The longest input, in tokens."""
        raise NotImplementedError

    @property
    def filler_token(self) -> int | None:
        """The token id that fills an input where nothing is said, and that no answer depends on;
        None where every token counts. Mixers with an option `filler` are built with it."""
        return None

    @property
    def chance(self) -> float:
        """The accuracy of the best answer that reads the input but not what is asked."""
        raise NotImplementedError

    @property
    def guess_loss(self) -> float | None:
        """Where the loss says how good a model is: that of one that knows nothing, in nats; None
        where accuracy says it. A search judges trials by it (`studies.cell`)."""
        return None

    @property
    def marginal_loss(self) -> float | None:
        """The loss of the best answer that reads nothing, in nats, where it is known. What a loss
        falls down to it is no recall."""
        return None

    @property
    def answer_bits(self) -> float | None:
        """The entropy of an example's answers, given its questions, in bits, where a model that
        reads from left to right must hold all of them at once to be right; None elsewhere.

        Less the cross-entropy of the answers, it is a lower bound on the bits that are held.
        """
        return None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured on its examples besides loss and accuracy; every component of a task has
        the same."""
        return ()

    @property
    def components(self) -> tuple[Task, ...]:
        """The tasks of one length that this one draws from; itself, if it has one length."""
        return (self,)

    @property
    def component_weights(self) -> tuple[int, ...]:
        """How often each component is drawn, in proportion; equally often, if nothing else is
        said."""
        return (1,) * len(self.components)

    def component(self, seed: int) -> Task:
        """The component that `sample(n, seed)` draws from.

        Args:
            seed: the seed of `sample`.

        Returns:
            One of `components`, each as often as `component_weights` say.
        """
        reached = list(accumulate(self.component_weights))
        return self.components[bisect_right(reached, derive_seed("component", seed) % reached[-1])]

    def split(self, name: Split) -> Task:  # noqa: ARG002
        """The task whose examples are for one purpose: itself, where each seed gives other ones.

        Args:
            name: "train", "valid" or "test".

        Returns:
            A task of the same class and label.
        """
        return self

    def sample(self, n: int, seed: int) -> Batch:
        """`n` examples of one length, made on the CPU; the same seed gives the same bytes.

        A task of several components draws, from the seed, which one the batch comes from.

        Args:
            n: the number of examples.
            seed: the seed of everything that is drawn.

        Returns:
            Inputs (n, L), and positions and targets (n, Q), as `Batch` describes them.
        """
        raise NotImplementedError

    def roles(self, batch: Batch) -> Tensor:
        """What each token is there for.

        Args:
            batch: examples of this task.

        Returns:
            Indices into `list(Role)`, (n, L).
        """
        raise NotImplementedError

    def spell(self, token: int) -> str:
        """A token as a person would read it.

        Args:
            token: a token id, from 0 to vocab_size - 1.

        Returns:
            A short text.
        """
        return str(token)

    @property
    def identity(self) -> dict[str, Any]:
        """What its examples depend on besides its fields: a part of a trial's key."""
        identity: dict[str, Any] = {"task": self.name, "numerics": self.numerics}
        if not is_ours(type(self)):
            identity |= {"class": class_name(type(self)), "source": source_digest(type(self))}
        return identity

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Task], dict[str, Any]]) -> dict[str, Any]:
        said = {
            name: value
            for name, value in fields(self).items()
            if name not in self.unsaid or getattr(self, name) != self.unsaid[name]
        }
        return self.identity | said


TASKS: Registry[type[Task]] = Registry("task", "recollect.tasks", "recollect.language.text_task")
TaskClass = TypeVar("TaskClass", bound=type[Task])


def register_task(name: str) -> Callable[[TaskClass], TaskClass]:
    """Put a task into the catalogue under `name`.

    Args:
        name: the name that users type.

    Returns:
        A decorator of the task's class, which it returns as it is.

    Raises:
        ValueError: if the name is taken.
    """

    def register(cls: TaskClass) -> TaskClass:
        cls.name = name
        TASKS.add(name, cls)
        return cls

    return register


def task(name: str, **settings: Any) -> Task:
    """The task of the catalogue with this name: `task("mqar", seq_len=64, num_kv_pairs=4)`.

    Args:
        name: a name that `recollect tasks` lists, or one that you registered.
        settings: the fields of the task's class.

    Returns:
        The task.

    Raises:
        UserError: for an unknown name, and for settings that do not fit.
    """
    return TASKS[name](**settings)


def common_filler(tasks: Iterable[Task]) -> int | None:
    """The filler token of all tasks.

    Raises:
        UserError: where they differ.
    """
    fillers = {task.label: task.filler_token for task in tasks}
    if len(set(fillers.values())) > 1:
        listed = ", ".join(f"{label} has {token}" for label, token in fillers.items())
        raise UserError(
            f"the tasks have different filler tokens: {listed}; give the mixer's option `filler`,"
            ' such as mixer("input-dependent-conv", filler=None)'
        )
    return next(iter(fillers.values()))


def parse_task(value: object) -> object:
    """A task from its serialised form; anything else passes through."""
    if not isinstance(value, dict):
        return value
    cls = TASKS[str(value.get("task"))]
    fields = {**cls.unsaid} | {key: value[key] for key in value if key in cls.model_fields}
    task = cls(**fields)
    stored = {key: value[key] for key in value if key not in fields}
    if stored | {"class": None} != task.identity | {"class": None}:  # it may have been moved
        raise UserError(f"the task {cls.name!r} has changed since this was stored")
    return task


AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(parse_task)]
"""The type of a config's field that holds some task."""
