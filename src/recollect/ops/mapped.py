"""What the ops' own vmap rules share: the mapped dimension is brought to the front."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor


def mapped_first(
    size: int, in_dims: Sequence[int | None], tensors: Sequence[Tensor]
) -> list[Tensor]:
    """The tensors of a vmap rule with the mapped dimension in front of all others.

    Args:
        size: of the mapped dimension.
        in_dims: where each tensor has it; None: nowhere, and it is repeated without a copy.
        tensors: as many as there are in_dims.
    """
    return [
        tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip(tensors, in_dims, strict=True)
    ]


def folded(
    function: Callable[..., Sequence[Tensor]],
    size: int,
    in_dims: Sequence[int | None],
    tensors: Sequence[Tensor],
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """What the vmap rule of a function returns that takes and gives tensors with rows as the first
    dimension of each: the mapped dimension joins the rows."""
    mapped = mapped_first(size, in_dims, tensors)
    outputs = function(*(tensor.flatten(0, 1) for tensor in mapped))
    return tuple(tensor.unflatten(0, (size, -1)) for tensor in outputs), (0,) * len(outputs)
