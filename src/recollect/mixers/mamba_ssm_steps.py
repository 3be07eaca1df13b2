"""The step forms of the mixers in mamba-ssm (https://github.com/state-spaces/mamba).

Their `step` writes into the tensors of the state, which are therefore copied first.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

State = tuple[Tensor, ...]
"""The tensors that `allocate_inference_cache` of the mixer makes."""


def empty_cache(module: Any, batch_size: int) -> State:
    """Return the state before the first token, which has the same size at any length."""
    return tuple(module.allocate_inference_cache(batch_size, max_seqlen=1))


def step_with_length(
    module: Any, x_t: Float[Tensor, "batch d_model"], state: State
) -> tuple[Float[Tensor, "batch d_model"], State]:
    """Read one token with a mixer whose step has a dimension of length 1."""
    y, *new = module.step(x_t[:, None], *(each.clone() for each in state))
    return y[:, 0], tuple(new)


def step_without_length(
    module: Any, x_t: Float[Tensor, "batch d_model"], state: State
) -> tuple[Float[Tensor, "batch d_model"], State]:
    """Read one token with a mixer whose step has no dimension of length."""
    y, *new = module.step(x_t, *(each.clone() for each in state))
    return y, tuple(new)
