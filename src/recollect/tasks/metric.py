"""What is measured of a model's answers besides their loss and accuracy.

A metric gives a number for each example; what is reported is the mean over examples, with its
standard error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Annotated, Any

from pydantic import BeforeValidator
from torch import Tensor

from recollect.errors import UserError, unknown
from recollect.identity import class_name, import_function, reference
from recollect.own_functions import function_reference, is_own
from recollect.tasks.batch import Batch

BUILT_IN = ("loss", "accuracy", "example_accuracy")
"""What is measured in every trial."""
TAKEN = (*BUILT_IN, "learning_rate", "seconds")
"""Names that a metric cannot have."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

MetricFunction = Callable[[Tensor, Batch], "Tensor | tuple[Tensor, Tensor]"]


@dataclass(frozen=True)
class Metric:
    """A measure of answers.

    Attributes:
        name: letters from a to z or A to Z, digits and underscores.
        function: given logits (n, Q, vocab) and the batch, the value of each example, (n,); or, for
            a mean over parts of examples (such as some of their answers), a pair: the sum over the
            parts of each example and their number, (n,) each. It draws no random numbers, and does
            not branch on values, or models with it are trained one at a time.
        lower_is_better: whether it is a kind of loss.
        guess: its value for a model that has learnt nothing. A search by the metric needs it where
            lower is better, and values from 0 to 1 where higher is.

    Raises:
        UserError: for a name that is taken or has other characters.
    """

    name: str
    function: MetricFunction
    lower_is_better: bool = False
    guess: float = 0.0

    def __post_init__(self) -> None:
        is_column = self.name.endswith(("_min", "_max"))  # of tables, beside that of the mean
        if self.name in TAKEN or is_column or not NAME.fullmatch(self.name):
            raise UserError(
                f"{self.name!r} cannot be the name of a metric: expected a letter from a to z or A"
                " to Z, then such letters, digits and underscores, not _min or _max at the end,"
                f" and none of {', '.join(TAKEN)}"
            )

    def sums(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum over the parts of each example and their number.

        Args:
            logits: of the model at the supervised positions, (n, Q, vocab).
            batch: the examples.

        Returns:
            The sums and the numbers of parts, (n,) each, in float64.

        Raises:
            UserError: where the function gives something else.
        """
        found = self.function(logits.clone(), batch.clone())  # it may write into what it is given
        value, weight = found if isinstance(found, tuple) else (found, None)
        for each in (value, weight):
            if each is not None and (not isinstance(each, Tensor) or each.shape != (len(batch),)):
                told = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
                raise UserError(
                    f"the metric {self.name} gives {told} for {len(batch)} examples: expected a"
                    f" tensor of shape ({len(batch)},), or two of them"
                )
        value = value.double()
        return value, value.new_ones(len(batch)) if weight is None else weight.double()


_NAMED: dict[str, str] = {}
_DECLARED: dict[str, Metric] = {}


def register_metric(
    name: str, *, lower_is_better: bool = False, guess: float = 0.0
) -> Callable[[MetricFunction], MetricFunction]:
    """Let `TrainConfig(metrics=[name])` measure what a function gives; see `Metric`.

        @rc.register_metric("first_answer")
        def first_answer(logits, batch):
            return (logits[:, 0].argmax(-1) == batch.targets[:, 0]).float()

    Args:
        name: of the metric, in tables and on the command line.
        lower_is_better: as in `Metric`.
        guess: as in `Metric`.

    Returns:
        A decorator of the metric's function, which it returns as it is.

    Raises:
        UserError: for a name that is taken.
    """

    def register(function: MetricFunction) -> MetricFunction:
        metric = Metric(name, function, lower_is_better, guess)
        own = class_name(function)  # type: ignore[arg-type]
        if _NAMED.setdefault(name, own) != own:
            raise UserError(f"the metric {name!r} is registered already, by {_NAMED[name]}")
        _DECLARED[own] = metric
        return function

    return register


def find_metrics(references: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of a config.

    Raises:
        UserError: where there is no such function.
    """
    return tuple(map(_find, references))


def _find(name: str) -> Metric:
    function = import_function(name)
    declared = _DECLARED.get(class_name(function))
    return declared or Metric(function.__name__, function)


def check_apart(metrics: Sequence[Metric]) -> None:
    """See that no two have the same name.

    Raises:
        UserError: where two have.
    """
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two metrics have the name {name!r}: rename one of them")


def _as_reference(value: Any) -> str:
    """Where this machine finds the function of a metric that is given in any way."""
    if not isinstance(value, str | FunctionType):
        raise UserError(f"{value!r}: expected a metric's name, a function, or file.py:function")
    if isinstance(value, str) and not is_own(value):
        if value not in _NAMED:
            raise unknown("metric", value, [*_NAMED, "file.py:function"])
        return reference(_DECLARED[_NAMED[value]].function)  # type: ignore[arg-type]
    return function_reference(value, "metric")


MetricName = Annotated[str, BeforeValidator(_as_reference)]
"""The type of a config's field that names a metric: its function's reference."""
