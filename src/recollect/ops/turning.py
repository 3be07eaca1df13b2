"""The rotation of pairs of neighbouring channels, each pair by its own angle, as in Mamba-3 (Lahoti
et al., 2026, arXiv 2603.15569).

    x'_2i = x_2i cos θ_i - x_2i+1 sin θ_i,   x'_2i+1 = x_2i sin θ_i + x_2i+1 cos θ_i

Channels without an angle do not change. Letters: n number of channels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms


def turn_pairs(
    angles: Float[Tensor, "... angles"], *vectors: Float[Tensor, "... _ n"]
) -> tuple[Float[Tensor, "... _ n"], ...]:
    """Return all vectors rotated; the vectors of one position share its angles.

    A GPU may take a kernel (`forms.py`).
    """
    if forms.form_for(angles, *vectors) == "triton":
        from recollect.ops._triton_turning import fused_turn  # Triton may not be installed

        return tuple(fused_turn(angles, x) for x in vectors)
    cos, sin = angles.cos()[..., None, :], angles.sin()[..., None, :]
    turned, width = [], 2 * angles.shape[-1]
    for x in vectors:
        first, rest = x[..., :width], x[..., width:]
        even, odd = first.unflatten(-1, (-1, 2)).unbind(-1)
        pairs = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
        turned.append(torch.cat([pairs.flatten(-2), rest], dim=-1))
    return tuple(turned)
