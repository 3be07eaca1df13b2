"""Hymba against the equations of its paper, its branches by others."""

import torch
import torch.nn.functional as F
from perturbing import perturbed

from recollect.mixers.hymba import Hymba
from recollect.mixers.mamba import Mamba
from recollect.ops.rotary import rotary_definition

D_MODEL, LENGTH = 12, 19


def normed(x, weight):
    return weight * x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def test_it_is_its_equations():
    module = perturbed(Hymba(D_MODEL, n_heads=3, rope=True, window=7))
    x = torch.randn(2, LENGTH, D_MODEL, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = module.qkv_proj(x).split([D_MODEL, D_MODEL, 2 * D_MODEL], -1)
        q, k, v = (m.view(2, LENGTH, 3, -1).transpose(1, 2) for m in (q, k, v))
        q, k = rotary_definition(q), rotary_definition(k)
        far = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
        scores = (q @ k.mT / 2).masked_fill((far < 0) | (far >= 7), -torch.inf)
        heads = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        alone = Mamba(D_MODEL, inner_norms=True).double()
        alone.load_state_dict(module.mamba.state_dict())
        expected = F.linear(
            normed(heads, module.attention_scale) / 2
            + normed(alone.channels(x), module.mamba_scale) / 2,
            module.mamba.out_proj.weight,
        )
        torch.testing.assert_close(module(x), expected)
