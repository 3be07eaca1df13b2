"""What the layers of a model look at: the token-mixing matrix of any mixer, and scores of it.

Entry (t, s) of the matrix is how much the mixer's output at position t changes with its input at
position s: the Frobenius norm of the Jacobian d y_t / d u_s, each row divided by its sum. Where
attention attends to a position, its output depends on it; so the rows read like attention's weights
and are defined for every mixer. The weights themselves, of every head, are read where a mixer
attends (`mixers.attention.Attend`).
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
"""What a module is called with, by position and by keyword."""

NUMBERS_AT_ONCE = 2**18
"""So many numbers go into a mixer at a time: 1 MiB in float32, of which mixers make much more."""


def mixing_matrices(
    model: LanguageModel, inputs: Int64[Tensor, "batch L"], *, probes: int | None = 8, seed: int = 0
) -> list[Matrix]:
    """The token-mixing matrix of each layer's mixer on each example.

    Args:
        model: in evaluation mode while this runs, and unchanged by it.
        inputs: token ids.
        probes: random directions of the output from which the norms are estimated, without bias
            in their squares; None: all directions, exactly.
        seed: of the directions.
    """
    generator = torch.Generator().manual_seed(generator_seed(seed))
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
    """The attention weights of each layer's heads on each example; None for a layer that does not
    attend.

    Args:
        model: in evaluation mode while this runs, and unchanged by it.
        inputs: token ids.
    """
    points = [
        next((each for each in layer.mixer.modules() if isinstance(each, Attend)), None)
        for layer in model.layers
    ]
    calls = iter(_calls(model, [point for point in points if point is not None], inputs))
    return [None if point is None else point.weights(*next(calls)[0][:2]) for point in points]


def previous_token_score(matrix: Matrix) -> float:
    """Mean weight of the position just before, from the second position on."""
    return matrix.diagonal(-1, dim1=1, dim2=2).mean().item()


def induction_score(
    matrix: Matrix,
    tokens: Int64[Tensor, "batch L"],
    positions: Int64[Tensor, "batch Q"] | None = None,
) -> float:
    """Mean weight of the position after the last earlier occurrence of a position's own token, over
    all positions that have one: what an induction head attends to (arXiv 2209.11895). NaN where no
    token recurs.

    Args:
        matrix: of a layer or a head.
        tokens: token ids.
        positions: those that count, such as the supervised ones; None: all.
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
    """What each of some modules of the model is called with, in evaluation mode."""
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
    """A squared Frobenius norm is the sum of |v . d y_t / d u_s|^2 over all unit vectors v, and the
    mean over normal ones.

    The examples are repeated for each position t, so that one pass backward asks for many.
    """
    (u,), context = call
    batch, length, _ = u.shape
    squares = u.new_zeros(batch, length, length)
    places_at_once = max(1, NUMBERS_AT_ONCE // u.numel())
    for places in torch.arange(length, device=u.device).split(places_at_once):
        n = len(places)
        copies = u.repeat(n, 1, 1).requires_grad_()
        # a mixer may write into its input, which a leaf of the graph forbids
        repeated = {name: argument.repeat(n, 1) for name, argument in context.items()}
        y = mixer(copies.clone(), **repeated)
        y_t = y.unflatten(0, (n, batch))[torch.arange(n, device=u.device), :, places]
        for v in directions.to(u):
            (gradient,) = torch.autograd.grad((y_t @ v).sum(), copies, retain_graph=True)
            squares[:, places] += gradient.square().sum(-1).unflatten(0, (n, batch)).transpose(0, 1)
    norms = squares.sqrt()
    return norms / norms.sum(-1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)
