"""TTT-Linear against gradient descent by autograd, step by step."""

import pytest
import torch
import torch.nn.functional as F

from recollect.errors import UserError
from recollect.mixers.marks import keeps_init
from recollect.mixers.ttt_linear import TTTLinear
from recollect.ops.rotary import rotary_definition

LENGTH, D_MODEL, HEADS = 13, 8, 2


def head_by_hand(module, h, q, k, v, rates):
    """One head of one sequence; q, k and v (L, d)."""
    size = module.mini_batch
    outputs = []
    weight, bias = module.weight[h].detach(), module.bias[h].detach()
    for begin in range(0, LENGTH, size):
        summed_weight, summed_bias = 0, 0
        for place, t in enumerate(range(begin, min(begin + size, LENGTH))):
            w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
            q_t, k_t = (rotary_definition(z[t : t + 1], offset=place)[0] for z in (q, k))

            def model(x, w, b):
                norm = module.norm_weight[h], module.norm_bias[h]
                return F.layer_norm(x @ w + b, x.shape, *norm, eps=1e-6)

            loss = (model(k_t, w, b) - (v[t] - k_t)).square().sum() / 2
            by_weight, by_bias = torch.autograd.grad(loss, (w, b))
            summed_weight = summed_weight + rates[t] * by_weight
            summed_bias = summed_bias + rates[t] * by_bias
            share = max(1 / (place + 1) + module.share[place].item(), 0)
            now = weight - share * summed_weight, bias - share * summed_bias
            outputs.append(q_t + model(q_t, *now))
        weight, bias = now
    return torch.stack(outputs)


def test_it_is_its_equations():
    torch.manual_seed(0)
    module = TTTLinear(D_MODEL, n_heads=HEADS, mini_batch=5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    module = module.double()
    x = torch.randn(LENGTH, D_MODEL, dtype=torch.float64)
    q, k, v = (z.view(LENGTH, HEADS, -1) for z in module.qkv_proj(x).detach().chunk(3, 1))
    rates = torch.sigmoid(module.lr_proj(x)).detach() / q.shape[-1]
    heads = [head_by_hand(module, h, q[:, h], k[:, h], v[:, h], rates[:, h]) for h in range(HEADS)]
    expected = module.out_proj(module.norm(torch.cat(heads, 1)))
    torch.testing.assert_close(module(x[None])[0], expected)


def test_it_starts_as_its_authors_have_it():
    module = TTTLinear(256)
    assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not module.bias.any()
    assert not module.share.any()
    kept = {name for name, parameter in module.named_parameters() if keeps_init(parameter)}
    assert kept == {"share", "weight", "bias", "norm_weight", "norm_bias"}


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="a head has width 3: rotary positions need an even"):
        TTTLinear(6)
    with pytest.raises(UserError, match="mini_batch=0: expected at least 1"):
        TTTLinear(8, mini_batch=0)
