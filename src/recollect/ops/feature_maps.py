"""Feature maps φ of linear attention: the weight of a position is φ(q) . φ(k).

Dimensions: d width of a query or key, D number of features. All leading dimensions broadcast.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recollect.ops import forms


def elu_features(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """elu(x) + 1, always positive (Katharopoulos et al., 2020, arXiv 2006.16236, eq. 7)."""
    return F.elu(x) + 1


def taylor_features(x: Float[Tensor, "... d"]) -> Float[Tensor, "... D"]:
    """Features whose weight is the second-order Taylor expansion of exp(s).

    The weight is 1 + s + s^2 / 2 with s = q . k / sqrt(d), at least 1/2 (Arora et al., 2024, arXiv
    2402.18668, section 4.1). Each product of two channels occurs once: D = 1 + d + d (d + 1) / 2.
    """
    d = x.shape[-1]
    x = x / math.sqrt(math.sqrt(d))
    ones = torch.ones_like(x[..., :1])
    return torch.cat([ones, x, x * x / math.sqrt(2), *_products(x)], dim=-1)


def _products(x: Float[Tensor, "... d"]) -> list[Float[Tensor, "... some"]]:
    """The products of two different channels, in an order that depends on the device.

    On devices other than the CPU all products are computed and half of them selected, which takes
    few operators. None is selected twice, so gradients do not depend on an order of summation.
    """
    d = x.shape[-1]
    if forms.form_for(x) == "cpu":
        return [x[..., n:] * x[..., :-n] for n in range(1, d)]  # products of channels n apart
    first, second = torch.triu_indices(d, d, 1, device=x.device)
    every = (x[..., :, None] * x[..., None, :]).flatten(-2)
    return [every.index_select(-1, d * first + second)]
