"""Rotary position embedding (Su et al., 2021, arXiv 2104.09864).

At position t the pair (x_2i, x_2i+1) is rotated by the angle t base^(-2i / head_dim). The position
enters the product of a query and a key only through their distance.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recollect.ops.cost import declares, rows


def rotary_definition(
    x: Float[Tensor, "... L head_dim"], *, offset: int = 0, base: float = 10_000.0
) -> Float[Tensor, "... L head_dim"]:
    """Multiply every position by its rotation matrix (equation 15)."""
    rotated = [_rotation(x, offset + t, base) @ x[..., t, :, None] for t in range(x.shape[-2])]
    return torch.stack(rotated, dim=-3).squeeze(-1)


@declares(lambda x: rows(x) * rotary_multiply_adds(*x.shape[-2:]))
def rotary(
    x: Float[Tensor, "... L head_dim"], *, offset: int = 0, base: float = 10_000.0
) -> Float[Tensor, "... L head_dim"]:
    """Rotate each pair as a complex number, by a product with exp(i angle) (equation 34).

    Args:
        x: queries or keys; head_dim is even.
        offset: position of the first query or key.
        base: the longest wavelength is about 2 pi base positions.
    """
    positions = torch.arange(offset, offset + x.shape[-2], device=x.device)
    # in float64: float32 has an error of 1e-4 at 2,000 radians
    angles = positions.double()[:, None] * _frequencies(x, base)
    pairs = _as_complex(x)
    turn = torch.polar(torch.ones_like(angles), angles).to(pairs.dtype)
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


def rotary_step(
    x_t: Float[Tensor, "... head_dim"], position: int, *, base: float = 10_000.0
) -> Float[Tensor, "... head_dim"]:
    """Rotate the query or key of one position."""
    return rotary(x_t[..., None, :], offset=position, base=base).squeeze(-2)


def rotary_multiply_adds(length: int, head_dim: int) -> int:
    """Multiply-adds for one head's queries or keys; the shared angles do not count."""
    return 2 * length * head_dim


def _frequencies(x: Tensor, base: float) -> Float[Tensor, " pairs"]:
    """The angle per position of each pair, in radians."""
    head_dim = x.shape[-1]
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float64, device=x.device) / head_dim
    return base**-exponents


def _as_complex(x: Tensor) -> Tensor:
    """View pairs of neighbours as complex numbers of at least 64 bits, without a copy if the
    layout of x allows it."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    together = x.stride(-1) == 1 and not any(step % 2 for step in x.stride()[:-1])
    if not together or x.storage_offset() % 2:
        x = x.contiguous()
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def _rotation(x: Tensor, position: int, base: float) -> Float[Tensor, "head_dim head_dim"]:
    """The block-diagonal rotation matrix of one position."""
    angles = position * _frequencies(x, base)
    blocks = torch.stack(
        [
            torch.stack([angles.cos(), -angles.sin()], -1),
            torch.stack([angles.sin(), angles.cos()], -1),
        ],
        dim=-2,
    )
    return torch.block_diag(*blocks).to(x.dtype)
