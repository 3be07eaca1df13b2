"""Apply the recipe's initialisation to a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import nn

from recollect.identity import is_ours
from recollect.mixers.marks import keeps_init
from recollect.models.config import Init

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
