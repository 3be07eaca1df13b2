"""A module of another library, called as a mixer."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recollect.errors import UserError
from recollect.identity import import_class, import_function
from recollect.mixers.adaptation import CAUSAL, INPUT, POSITIONS, Adaptation


def build_adapted(
    cls: type[nn.Module], how: Adaptation, context: Mapping[str, Any], options: Mapping[str, Any]
) -> nn.Module:
    """Build the module of a layer, wrapped if its calls differ from ours.

    Args:
        cls: the class of the module.
        how: how to build and call it.
        context: the values of `CONTEXT`, set by the model.
        options: arguments of the constructor, or fields of its config.

    Raises:
        Exception: whatever the constructor raises.
    """
    module, config = how.make(cls, context, options)
    if how.initialise == "transformers":
        _initialise(module, config)
    if not how.changes_calls:
        return module
    steps = isinstance(how.step, str) or hasattr(module, "step")
    starts = how.initial_state is not None or hasattr(module, "initial_state")
    has_step = how.state or how.cache or (steps and starts)
    return (AdaptedWithStep if has_step else Adapted)(module, how, config)


def _initialise(module: nn.Module, config: Any) -> None:
    """Initialise weights as the module's model in `transformers` does.

    Many of its parts leave their weights uninitialised after construction.
    """
    place = type(module).__module__
    classes = [value for value in vars(sys.modules[place]).values() if isinstance(value, type)]
    (model,) = (
        cls
        for cls in classes
        if cls.__module__ == place and cls.__name__.endswith("PreTrainedModel")
    )
    with torch.no_grad():
        module.apply(model(config)._init_weights)


class Adapted(nn.Module):
    """A wrapper that calls a module in its own way.

    Args:
        inner: the module.
        how: how to call it.
        config: the config that the module was built from, or None; a cache is built from it too.
    """

    def __init__(self, inner: nn.Module, how: Adaptation, config: Any) -> None:
        super().__init__()
        self.inner, self.how, self.config = inner, how, config

    def forward(self, x: Float[Tensor, "batch L d_model"]) -> Any:
        """Return what the module gives as outputs for a whole sequence, unchecked."""
        if isinstance(self.how.forward, str):
            return import_function(self.how.forward)(self.inner, x)
        returned = self._call(x, self.how.forward)
        as_ours = self.how.output == 0 and self.how.layout == "BLD"
        return returned if as_ours else self._output(returned)

    def _call(self, x: Float[Tensor, "batch L d_model"], arguments: Mapping[str, Any]) -> Any:
        """Call the module and return everything it returns."""
        given = x if self.how.layout == "BLD" else x.transpose(0, 1)
        values = {name: _argument(value, x, given) for name, value in arguments.items()}
        return self.inner(given, **values)

    def _output(self, returned: Any) -> Any:
        """Pick the outputs from what the module returned."""
        y = returned
        if isinstance(returned, tuple | list):
            if self.how.output >= len(returned):
                raise UserError(
                    f"output={self.how.output}: forward returns {len(returned)} values, counted"
                    " from 0"
                )
            y = returned[self.how.output]
        return y if self.how.layout == "BLD" or not isinstance(y, Tensor) else y.transpose(0, 1)


class AdaptedWithStep(Adapted):
    """A wrapper around a module that can read a token at a time."""

    def initial_state(self, batch_size: int) -> Any:
        """Return the state before the first token."""
        how = self.how
        if how.initial_state is not None:
            return import_function(how.initial_state)(self.inner, batch_size)
        if how.cache is not None:
            return self._empty_cache()
        own: Any = None if how.state else self.inner.initial_state
        return None if own is None else own(batch_size)

    def step(self, x_t: Float[Tensor, "batch d_model"], state: Any) -> tuple[Any, Any]:
        """Return the output for one token, and the new state."""
        how = self.how
        if isinstance(how.step, str):
            y, new = import_function(how.step)(self.inner, x_t, state)
            return y, new
        arguments = {**self._plain_arguments(), **how.step}
        if how.cache is not None:
            new = copy.deepcopy(state)
            return self._read(x_t, {**arguments, how.cache: new})[0], new
        if how.state is not None:
            y, returned = self._read(x_t, {**arguments, how.state: state})
            return y, _second(returned)
        own: Any = self.inner.step
        y, new = own(x_t, state)
        return y, new

    def _read(
        self, x_t: Float[Tensor, "batch d_model"], arguments: Mapping[str, Any]
    ) -> tuple[Any, Any]:
        """Return the output for one token, and everything that the module returned."""
        returned = self._call(x_t[:, None], arguments)
        y = self._output(returned)
        return y[:, 0], returned

    def _plain_arguments(self) -> Mapping[str, Any]:
        return {} if isinstance(self.how.forward, str) else self.how.forward

    def _empty_cache(self) -> Any:
        if self.how.cache_class is None:
            return None
        cls = import_class(self.how.cache_class)
        return cls() if self.config is None else cls(config=self.config)


def _argument(value: Any, x: Float[Tensor, "batch L d_model"], given: Tensor) -> Any:
    """The value of an argument of `forward`, with words replaced by tensors."""
    length = x.shape[1]
    if isinstance(value, str) and value == INPUT:
        return given
    if isinstance(value, str) and value == CAUSAL:
        later = torch.full((length, length), -torch.inf, dtype=x.dtype, device=x.device)
        return later.triu(1)
    if isinstance(value, str) and value == POSITIONS:
        return torch.arange(length, device=x.device)[None]
    return value


def _second(returned: Any) -> Any:
    if isinstance(returned, tuple | list) and len(returned) > 1:
        return returned[1]
    raise UserError(
        "forward returns no new state: expected (output, new state); pass the arguments that make"
        " it return one, such as step={'return_state': True}"
    )
