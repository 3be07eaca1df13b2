"""Metrics of a model's answers besides loss and accuracy.

A metric computes a number for each example; tables show the mean over examples and its standard
error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Annotated, Any

from pydantic import BeforeValidator
from torch import Tensor

from recollect.errors import UserError, unknown
from recollect.identity import class_name, import_function, reference
from recollect.own_functions import function_reference, is_own
from recollect.tasks.batch import Batch

BUILT_IN = ("loss", "accuracy", "example_accuracy")
"""The metrics of every trial."""
TAKEN = (*BUILT_IN, "learning_rate", "seconds")
"""Names that other metrics cannot have."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

MetricFunction = Callable[[Tensor, Batch], "Tensor | tuple[Tensor, Tensor]"]


@dataclass(frozen=True)
class Metric:
    """A metric of a model's answers.

    Attributes:
        name: letters (A to Z, a to z), digits and underscores.
        function: maps logits (n, Q, vocab) and the batch to the value of each example, (n,). For a
            mean over parts of examples (such as some of their answers) it returns a pair of shape
            (n,) each: the sum over the parts of each example, and their number. It must not draw
            random numbers. If it branches on values, models are trained one at a time.
        lower_is_better: whether smaller values are better, as for a loss.
        guess: the value of a model that has learnt nothing. A search by the metric needs it if
            lower is better; if higher is better, values must be between 0 and 1.

    Raises:
        UserError: if the name is taken or has other characters.
    """

    name: str
    function: MetricFunction
    lower_is_better: bool = False
    guess: float = 0.0

    def __post_init__(self) -> None:
        # tables have such columns next to the mean
        is_column = self.name.endswith(("_min", "_max"))
        if self.name in TAKEN or is_column or not NAME.fullmatch(self.name):
            raise UserError(
                f"{self.name!r} cannot be the name of a metric: expected a letter (A to Z, a to z),"
                " then letters, digits and underscores; it must not end in _min or _max, or be one"
                f" of {', '.join(TAKEN)}"
            )

    def sums(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the sum over the parts of each example, and their number, (n,) each, in float64.

        Args:
            logits: of the model at the supervised positions, (n, Q, vocab).
            batch: the examples.

        Returns:
            The sums and the numbers of parts, (n,) each, in float64.

        Raises:
            UserError: if the function returns something else.
        """
        found = self.function(logits.clone(), batch.clone())  # it may modify its arguments
        value, weight = found if isinstance(found, tuple) else (found, None)
        for each in (value, weight):
            if each is not None and (not isinstance(each, Tensor) or each.shape != (len(batch),)):
                returned = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
                raise UserError(
                    f"the metric {self.name} returns {returned} for {len(batch)} examples: expected"
                    f" a tensor of shape ({len(batch)},), or two of them"
                )
        value = value.double()
        return value, value.new_ones(len(batch)) if weight is None else weight.double()


_NAMED: dict[str, str] = {}
_DECLARED: dict[str, Metric] = {}


def register_metric(
    name: str, *, lower_is_better: bool = False, guess: float = 0.0
) -> Callable[[MetricFunction], MetricFunction]:
    """Register a function as a metric for `TrainConfig(metrics=[name])`; see `Metric`.

        @rc.register_metric("first_answer")
        def first_answer(logits, batch):
            return (logits[:, 0].argmax(-1) == batch.targets[:, 0]).float()

    Args:
        name: name of the metric in tables and on the command line.
        lower_is_better: as in `Metric`.
        guess: as in `Metric`.

    Returns:
        A decorator of the metric's function, which it returns as it is.

    Raises:
        UserError: if the name is taken or not allowed.
    """

    def register(function: MetricFunction) -> MetricFunction:
        metric = Metric(name, function, lower_is_better, guess)
        own = class_name(function)  # type: ignore[arg-type]
        if _NAMED.setdefault(name, own) != own:
            raise UserError(
                f"the metric {name!r} is already registered by {_NAMED[name]}: rename one of them"
            )
        _DECLARED[own] = metric
        return function

    return register


def find_metrics(references: Iterable[str]) -> tuple[Metric, ...]:
    """Return the metrics of a config, by the references of their functions.

    Raises:
        UserError: if a function does not exist.
    """
    return tuple(map(_find, references))


def _find(name: str) -> Metric:
    function = import_function(name)
    declared = _DECLARED.get(class_name(function))
    if declared is None:
        return Metric(function.__name__, function)
    return replace(declared, function=function)  # it may have been defined again since


def check_apart(metrics: Sequence[Metric]) -> None:
    """Refuse metrics with equal names.

    Raises:
        UserError: if two have the same name.
    """
    names = [metric.name for metric in metrics]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two metrics have the name {name!r}: rename one of them")


def _as_reference(value: Any) -> str:
    """The reference of a metric's function, given by name, function or file."""
    if not isinstance(value, str | FunctionType):
        raise UserError(f"{value!r}: expected a metric's name, a function, or file.py:function")
    if isinstance(value, str) and not is_own(value):
        if value not in _NAMED:
            raise unknown("metric", value, [*_NAMED, "file.py:function"])
        return reference(_DECLARED[_NAMED[value]].function)  # type: ignore[arg-type]
    return function_reference(value, "metric")


MetricName = Annotated[str, BeforeValidator(_as_reference)]
"""The type of a config field for a metric: the reference of its function."""
