import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from recollect.ops.xlstm import mlstm, mlstm_definition, slstm


def arguments(length, wild=1.0, leading=(2,)):
    """Gates whose logits differ by about `wild`."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(*leading, length, *shape, dtype=torch.float64, generator=generator)

    inputs = (normal(5), normal(5), normal(3), wild * normal(), F.logsigmoid(wild * normal()))
    return [x.detach().requires_grad_() for x in inputs]


@pytest.mark.parametrize("wild", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("length", [1, 2, 65])
def test_mlstm_equals_its_definition(length, wild):
    inputs = arguments(length, wild)
    outcomes = []
    for function in (mlstm, mlstm_definition):
        y = function(*inputs)
        outcomes.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    for fast, expected in zip(*outcomes, strict=True):
        assert (fast - expected).norm() <= 1e-9 * expected.norm() + 1e-30


def test_mlstm_is_its_sums():
    """The sums without division by their largest exponent, which these gates allow."""
    q, k, v, i, log_f = (x.detach() for x in arguments(9))
    since = log_f.cumsum(-1)
    weights = (since[..., :, None] - since[..., None, :] + i[..., None, :]).exp().tril()
    weights = weights * (q @ k.mT)
    divisor = weights.sum(-1, keepdim=True).abs().clamp(min=1)
    torch.testing.assert_close(mlstm(q, k, v, i, log_f), weights @ v / divisor, rtol=1e-5, atol=0)


def test_gates_beyond_the_range_of_exponentials_stay_finite():
    q, k, v, i, log_f = arguments(40)
    y = mlstm(q, k, v, 1000 * i, 1000 * log_f)
    gradients = torch.autograd.grad(y.sum(), (q, k, v, i, log_f))
    assert all(x.isfinite().all() for x in (y, *gradients))
    a = 1000 * torch.randn(2, 30, 4, 3, 2, requires_grad=True)
    h = slstm(a, torch.randn(4, 3, 2, 2), torch.zeros(4, 3, 2))
    (gradient,) = torch.autograd.grad(h.sum(), a)
    assert h.isfinite().all()
    assert gradient.isfinite().all()


def test_slstm_is_its_sums():
    """If gates do not see the state, each channel is a weighted mean."""
    torch.manual_seed(0)
    a = torch.randn(2, 9, 4, 3, 2, dtype=torch.float64)
    nothing = torch.zeros(4, 3, 2, 2, dtype=torch.float64)
    i, f, z, o = a.unbind(2)
    since = F.logsigmoid(f).cumsum(1)
    weights = (since[:, :, None] - since[:, None] + i[:, None]).exp()
    weights = weights.movedim((1, 2), (-2, -1)).tril()
    mean = weights / weights.sum(-1, keepdim=True) @ z.tanh().movedim(1, -1)[..., None]
    expected = o.sigmoid() * mean.squeeze(-1).movedim(-1, 1)
    torch.testing.assert_close(slstm(a, nothing, nothing[..., 0]), expected)


def test_they_map():
    inputs = [x.detach() for x in arguments(9, leading=(3, 2))]
    torch.testing.assert_close(vmap(mlstm)(*inputs), mlstm(*inputs))
