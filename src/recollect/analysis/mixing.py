"""Token-mixing matrices of any mixer, and scores of them.

Entry (t, s) of the matrix is the dependence of the mixer's output at position t on its input at
position s: the Frobenius norm of the Jacobian d y_t / d u_s, with each row normalised to sum 1.
Rows can be read like attention weights, but are defined for every mixer. For attention mixers
(`mixers.attention.Attend`) the attention weights of each head are also available.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from recollect.mixers.attention import Attend
from recollect.models.language_model import LanguageModel
from recollect.ops.occurrence import previous_occurrence
from recollect.seeding import generator_seed

Matrix = Float[Tensor, "batch L L"]
Call = tuple[tuple[Tensor, ...], dict[str, Tensor]]
"""Positional and keyword arguments of a module's call."""

NUMBERS_AT_ONCE = 2**18
"""Elements that a mixer's input has at a time: 1 MiB in float32; intermediate tensors are
larger."""


def mixing_matrices(
    model: LanguageModel, inputs: Int64[Tensor, "batch L"], *, probes: int | None = 8
) -> list[Matrix]:
    """Token-mixing matrix of each layer's mixer on each example.

    Args:
        model: in evaluation mode during the call; left unchanged.
        inputs: token ids.
        probes: number of random output directions from which the norms are estimated (their squares
            without bias); None: exact norms.
    """
    generator = torch.Generator().manual_seed(generator_seed(0))
    width = model.config.d_model
    directions = (
        torch.eye(width) if probes is None else torch.randn(probes, width, generator=generator)
    )
    mixers = [layer.mixer for layer in model.layers]
    was_training = model.training
    calls = _calls(model, mixers, inputs)
    model.eval()
    matrices = [_matrix(mixer, call, directions) for mixer, call in zip(mixers, calls, strict=True)]
    model.train(was_training)
    return matrices


@torch.no_grad()
def head_weights(
    model: LanguageModel, inputs: Int64[Tensor, "batch L"]
) -> list[Float[Tensor, "batch heads L L"] | None]:
    """Attention weights of each layer's heads on each example; None for layers without attention.

    Args:
        model: in evaluation mode during the call; left unchanged.
        inputs: token ids.
    """
    points = [
        next((each for each in layer.mixer.modules() if isinstance(each, Attend)), None)
        for layer in model.layers
    ]
    calls = iter(_calls(model, [point for point in points if point is not None], inputs))
    return [None if point is None else point.weights(*next(calls)[0][:2]) for point in points]


def previous_token_score(matrix: Matrix) -> float:
    """Mean weight of the previous position, over all positions from the second."""
    return matrix.diagonal(-1, dim1=1, dim2=2).mean().item()


def induction_score(
    matrix: Matrix,
    tokens: Int64[Tensor, "batch L"],
    positions: Int64[Tensor, "batch Q"] | None = None,
) -> float:
    """Mean weight of the position that an induction head attends to (arXiv 2209.11895).

    That is the position after the last earlier occurrence of the same token. The mean is over the
    positions whose token occurred before; NaN if there are none.

    Args:
        matrix: of a layer or a head.
        tokens: token ids.
        positions: the positions to average over, such as the supervised ones; None: all.
    """
    place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    positions = place if positions is None else positions
    after = previous_occurrence(tokens).gather(1, positions) + 1
    rows = matrix.gather(1, positions[..., None].expand(-1, -1, matrix.shape[2]))
    recurs = (after > 0) & (after < positions)
    return rows.gather(2, after[..., None])[..., 0][recurs].mean().item()


def _calls(
    model: LanguageModel, modules: Sequence[nn.Module], inputs: Int64[Tensor, "batch L"]
) -> list[Call]:
    """Arguments with which some modules of the model are called, in evaluation mode."""
    calls: dict[nn.Module, Call] = {}

    def note(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls[module] = (
            tuple(argument.detach() for argument in given),
            {name: argument.detach() for name, argument in named.items()},
        )

    was_training = model.training
    hooks = [module.register_forward_pre_hook(note, with_kwargs=True) for module in modules]
    try:
        with torch.no_grad():
            model.eval().hidden(inputs)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return [calls[module] for module in modules]


def _matrix(
    mixer: Callable[..., Tensor],
    call: Call,
    directions: Float[Tensor, "probes d_model"],
) -> Matrix:
    """Estimate a token-mixing matrix by backward passes.

    A squared Frobenius norm is the sum of |v . d y_t / d u_s|^2 over an orthonormal basis of v, and
    the mean of it over standard normal v. The examples are repeated for each position t, so that
    one backward pass serves many positions.
    """
    (u,), context = call
    batch, length, _ = u.shape
    squares = u.new_zeros(batch, length, length)
    places_at_once = max(1, NUMBERS_AT_ONCE // u.numel())
    for places in torch.arange(length, device=u.device).split(places_at_once):
        n = len(places)
        copies = u.repeat(n, 1, 1).requires_grad_()
        # cloned: a mixer may write into its input, which autograd forbids for a leaf
        repeated = {name: argument.repeat(n, 1) for name, argument in context.items()}
        y = mixer(copies.clone(), **repeated)
        y_t = y.unflatten(0, (n, batch))[torch.arange(n, device=u.device), :, places]
        for v in directions.to(u):
            (gradient,) = torch.autograd.grad((y_t @ v).sum(), copies, retain_graph=True)
            squares[:, places] += gradient.square().sum(-1).unflatten(0, (n, batch)).transpose(0, 1)
    norms = squares.sqrt()
    return norms / norms.sum(-1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)
