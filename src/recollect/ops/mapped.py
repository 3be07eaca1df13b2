"""Helpers for the ops' vmap rules, which move the mapped dimension to the front."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor


def mapped_first(
    size: int, in_dims: Sequence[int | None], tensors: Sequence[Tensor]
) -> list[Tensor]:
    """Return the tensors of a vmap rule with the mapped dimension first.

    Args:
        size: size of the mapped dimension.
        in_dims: position of the mapped dimension in each tensor; None: the tensor has none and is
            repeated without a copy.
        tensors: one for each of in_dims.
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
    """Apply a function of tensors (rows, ...) under vmap by folding the mapped dimension into rows.

    Returns:
        The outputs and their mapped dimensions, as a vmap rule returns them.
    """
    mapped = mapped_first(size, in_dims, tensors)
    outputs = function(*(tensor.flatten(0, 1) for tensor in mapped))
    return tuple(tensor.unflatten(0, (size, -1)) for tensor in outputs), (0,) * len(outputs)
