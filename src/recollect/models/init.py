"""The initialisation of the recipe: its config, and how it is applied to a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, model_serializer, model_validator
from torch import nn

from recollect.config import Config, without_defaults
from recollect.errors import UserError
from recollect.identity import is_ours
from recollect.mixers.marks import keeps_init

PARAMETERS: dict[type[nn.Module], set[str]] = {
    nn.Linear: {"weight", "bias"},
    nn.Embedding: {"weight"},
    nn.MultiheadAttention: {
        *("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"),
    },
}
"""The classes that the recipe initialises, and the names of their parameters."""
BIASES = {"bias", "in_proj_bias"}
"""The parameters that start at zero."""
OPTIONAL = {"bias_k", "bias_v"}
"""Optional parameters of `nn.MultiheadAttention`: an additional key and value."""


class Init(Config):
    """The initialisation: weights normal with standard deviation `std`, biases zero.

    It applies to all of `nn.Linear`, `nn.Embedding` and `nn.MultiheadAttention`. Other modules
    (convolutions, recurrent layers, plain parameters) keep their own initialisation. So do modules
    of these classes with additional parameters, as with weight norm, spectral norm or adapters, and
    parameters that a mixer marks to keep theirs (`mixers.marks`).

    Attributes:
        std: standard deviation.
        rescale_residual: whether to divide `std` by sqrt(number of writes to the residual stream)
            for the maps that write to it (named `out_proj`), as in GPT-2. "mlp": only for those
            in MLPs, not in mixers.
        writes_per_layer: number of writes per layer for that divisor; None: counted. 2 gives
            sqrt(2 n_layers) as in Zoology's code.
        foreign: the initialisation of linear maps and embeddings in mixers from outside of this
            package. "keep": as the mixer's constructor leaves them; "reset": like all others.

    Raises:
        UserError: if writes_per_layer is given without rescale_residual.
    """

    std: float = Field(default=0.02, gt=0)
    rescale_residual: bool | Literal["mlp"] = True
    writes_per_layer: int | None = Field(default=None, gt=0)
    foreign: Literal["keep", "reset"] = "keep"

    @model_serializer(mode="wrap")
    def _serialize(self, fields: Callable[[Init], dict[str, Any]]) -> dict[str, Any]:
        return without_defaults(self, fields, ("foreign", "writes_per_layer"))

    @model_validator(mode="after")
    def _writes_are_rescaled(self) -> Init:
        if self.writes_per_layer and not self.rescale_residual:
            raise UserError(
                f"writes_per_layer={self.writes_per_layer} has no effect with"
                " rescale_residual=False; leave one of them out"
            )
        return self


def initialise(model: nn.Module, mixers: Sequence[nn.Module], init: Init) -> None:
    """Initialise the linear maps and embeddings of a model by the recipe (see `Init`).

    Args:
        model: the whole model.
        mixers: the mixer of each layer, with all its submodules.
        init: the recipe.
    """
    writers = {module for name, module in model.named_modules() if name.endswith("out_proj")}
    writes = init.writes_per_layer * len(mixers) if init.writes_per_layer else len(writers)
    rescaled = _rescaled(writers, mixers, init)
    spared = _foreign_parts(mixers) if init.foreign == "keep" else set()
    for module in model.modules():
        parameters = _parameters_of_class(module)
        if module in spared or parameters is None:
            continue
        if module._parameters.keys() - OPTIONAL != parameters:  # computed or additional parameters
            spared |= set(module.modules())
            continue
        std = init.std / math.sqrt(writes) if module in rescaled else init.std
        for own, parameter in module.named_parameters(recurse=False):
            if keeps_init(parameter):
                continue
            if own in BIASES:
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=std)


def _rescaled(writers: set[nn.Module], mixers: Iterable[nn.Module], init: Init) -> set[nn.Module]:
    """The maps that write to the residual stream and get the rescaled `std`."""
    if not init.rescale_residual:
        return set()
    if init.rescale_residual == "mlp":
        return writers - {part for mixer in mixers for part in mixer.modules()}
    return writers


def _parameters_of_class(module: nn.Module) -> set[str] | None:
    """The parameters of the module's class in `PARAMETERS`; None if the class is not in it."""
    return next((names for cls, names in PARAMETERS.items() if isinstance(module, cls)), None)


def _foreign_parts(mixers: Iterable[nn.Module]) -> set[nn.Module]:
    """All modules in mixers from outside of this package."""
    return {part for mixer in mixers if not is_ours(type(mixer)) for part in mixer.modules()}
