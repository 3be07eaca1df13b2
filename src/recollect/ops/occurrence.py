"""The previous occurrence of each token, and a convolution whose filter starts there.

    y_t = sum over j < K with p + j <= t of h_j u_{p + j},
    p the last position before t with the same token;  y_t = 0 if there is none

As a function of the lag, the filter of position t is h shifted by t - p, so it depends on the
input. In Arora et al. (2023, arXiv 2312.04927) the shifts come from the auto-correlation of the
whole input; here they depend on the past only. Dimensions: L length, K length of the filter. All
leading dimensions broadcast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recollect.ops.cost import declares, rows


def previous_occurrence_definition(
    tokens: Int64[Tensor, "... L"], filler: int | None = None
) -> Int64[Tensor, "... L"]:
    """Return the last earlier position with the same token, or -1, position by position."""
    previous = []
    for t in range(tokens.shape[-1]):
        previous.append(previous_occurrence_step(tokens[..., t], tokens[..., :t], filler))
    return torch.stack(previous, dim=-1)


def previous_occurrence(
    tokens: Int64[Tensor, "... L"], filler: int | None = None
) -> Int64[Tensor, "... L"]:
    """Return the last earlier position with the same token, or -1.

    A stable sort puts the occurrences of a token next to each other, in order.

    Args:
        tokens: token ids.
        filler: a token that counts as never having occurred.
    """
    ordered, places = tokens.sort(dim=-1, stable=True)
    is_repeat = (ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] != _id(filler))
    previous = F.pad(torch.where(is_repeat, places[..., :-1], -1), (1, 0), value=-1)
    return torch.zeros_like(tokens).scatter(-1, places, previous)


def previous_occurrence_step(
    token_t: Int64[Tensor, ...], earlier: Int64[Tensor, "... n"], filler: int | None = None
) -> Int64[Tensor, ...]:
    """Return the index of the last earlier token equal to the next one, or -1."""
    same = (earlier == token_t[..., None]) & (earlier != _id(filler))
    places = torch.arange(earlier.shape[-1], device=earlier.device)
    return F.pad(torch.where(same, places, -1), (1, 0), value=-1).amax(-1)


def occurrence_conv_definition(
    u: Float[Tensor, "... L channels"],
    h: Float[Tensor, "... K channels"],
    previous: Int64[Tensor, "... L"],
) -> Float[Tensor, "... L channels"]:
    """Compute the sum term by term."""
    outputs = []
    for t in range(u.shape[-2]):
        y_t = torch.zeros_like(h[..., 0, :] * u[..., t, :])
        for j in range(h.shape[-2]):
            for s in range(t + 1):
                meant = (previous[..., t] >= 0) & (previous[..., t] + j == s)
                y_t = y_t + meant[..., None] * h[..., j, :] * u[..., s, :]
        outputs.append(y_t)
    return torch.stack(outputs, dim=-2)


@declares(
    lambda u, h, previous: (
        rows(u, h, previous[..., None])
        * occurrence_conv_multiply_adds(u.shape[-2], h.shape[-2], u.shape[-1])
    )
)
def occurrence_conv(
    u: Float[Tensor, "... L channels"],
    h: Float[Tensor, "... K channels"],
    previous: Int64[Tensor, "... L"],
) -> Float[Tensor, "... L channels"]:
    """Compute the convolution tap by tap for all positions.

    Args:
        u: inputs.
        h: the filter.
        previous: from `previous_occurrence`.
    """
    now = torch.arange(u.shape[-2], device=u.device)
    return _read(u, h, previous, now)


def occurrence_conv_step(
    u: Float[Tensor, "... n channels"],
    h: Float[Tensor, "... K channels"],
    previous_t: Int64[Tensor, ...],
) -> Float[Tensor, "... channels"]:
    """Return the output at the last of the n positions so far."""
    now = torch.arange(u.shape[-2] - 1, u.shape[-2], device=u.device)
    return _read(u, h, previous_t[..., None], now).squeeze(-2)


def occurrence_conv_multiply_adds(length: int, taps: int, channels: int) -> int:
    """Multiply-adds for one sequence in which every token has occurred before."""
    return length * taps * channels


def _id(filler: int | None) -> int:
    """The filler's id, or -1, the id of no token."""
    return -1 if filler is None else filler


def _read(
    u: Float[Tensor, "... n channels"],
    h: Float[Tensor, "... K channels"],
    previous: Int64[Tensor, "... t"],
    now: Int64[Tensor, " t"],
) -> Float[Tensor, "... t channels"]:
    """The outputs at the positions `now`."""
    terms = []
    for j, tap in enumerate(h.split(1, dim=-2)):
        place = previous + j
        is_past = ((previous >= 0) & (place <= now))[..., None]
        taken = torch.take_along_dim(u, place.clamp(0, u.shape[-2] - 1)[..., None], dim=-2)
        terms.append(torch.where(is_past, tap * taken, 0))
    return torch.stack(terms).sum(0)
