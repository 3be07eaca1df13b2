"""What the layers of a model look at: the token-mixing matrix of any mixer, and scores of it.

Entry (t, s) of the matrix is how much the mixer's output at position t changes with its input at
position s: the Frobenius norm of the Jacobian d y_t / d u_s, each row divided by its sum. Where
attention attends to a position, its output depends on it; so the rows read like attention's weights
and are defined for every mixer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recollect.models.language_model import LanguageModel
from recollect.ops.occurrence import previous_occurrence

Matrix = Float[Tensor, "batch L L"]


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
    was_training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    width = model.config.d_model
    directions = (
        torch.eye(width) if probes is None else torch.randn(probes, width, generator=generator)
    )
    matrices = [
        _matrix(layer.mixer, arguments, directions)
        for layer, arguments in zip(model.layers, _mixer_inputs(model, inputs), strict=True)
    ]
    model.train(was_training)
    return matrices


def previous_token_score(matrix: Matrix) -> float:
    """Mean weight of the position just before, from the second position on."""
    return matrix.diagonal(-1, dim1=1, dim2=2).mean().item()


def induction_score(matrix: Matrix, tokens: Int64[Tensor, "batch L"]) -> float:
    """Mean weight of the position after the last earlier occurrence of a position's own token, over
    all positions that have one: what an induction head attends to (arXiv 2209.11895). NaN where no
    token recurs."""
    after = previous_occurrence(tokens) + 1
    place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    recurs = (after > 0) & (after < place)
    return matrix.gather(2, after[..., None])[..., 0][recurs].mean().item()


def _mixer_inputs(
    model: LanguageModel, inputs: Int64[Tensor, "batch L"]
) -> list[tuple[Tensor, ...]]:
    """What each layer's mixer is called with."""
    calls: list[tuple[Tensor, ...]] = []

    def note(module: Any, arguments: tuple[Tensor, ...]) -> None:  # noqa: ARG001
        calls.append(tuple(argument.detach() for argument in arguments))

    hooks = [layer.mixer.register_forward_pre_hook(note) for layer in model.layers]
    try:
        with torch.no_grad():
            model.hidden(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _matrix(
    mixer: Callable[..., Tensor],
    arguments: tuple[Tensor, ...],
    directions: Float[Tensor, "probes d_model"],
) -> Matrix:
    """A squared Frobenius norm is the sum of |v . d y_t / d u_s|^2 over all unit vectors v, and the
    mean over normal ones."""
    u, *rest = arguments
    u = u.clone().requires_grad_()
    y = mixer(u, *rest)
    batch, length, _ = y.shape
    squares = u.new_zeros(batch, length, length)
    for v in directions.to(y):
        for t in range(length):
            (gradient,) = torch.autograd.grad((y[:, t] @ v).sum(), u, retain_graph=True)
            squares[:, t] += gradient.square().sum(-1)
    norms = squares.sqrt()
    return norms / norms.sum(-1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)
