"""RWKV's token shift: each position is mixed with the previous one, channel by channel, in several
ways (Peng et al., 2023, arXiv 2305.13048, section 3.1).

    x_t^i = x_t + (x_{t-1} - x_t) * μ_i
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms


def token_shift(
    x: Float[Tensor, "... d"], previous: Float[Tensor, "... d"], shares: Float[Tensor, "ways d"]
) -> tuple[Float[Tensor, "... d"], ...]:
    """Return one mixture per way. Other devices than the CPU compute all at once: fewer launches.

    Args:
        x: inputs.
        previous: the input of the previous position.
        shares: μ.
    """
    if forms.form_for(x, previous, shares) == "cpu":
        return tuple(x + (previous - x) * mu for mu in shares)
    ways = x[..., None, :] + (previous - x)[..., None, :] * shares
    return ways.unbind(-2)
