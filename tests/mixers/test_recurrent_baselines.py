"""GRU and LSTM against PyTorch's, minGRU and minLSTM against their paper."""

import pytest
import torch
from torch import nn

from recollect.errors import UserError
from recollect.mixers.marks import keeps_init
from recollect.mixers.min_rnn import MinGRU, MinLSTM
from recollect.mixers.recurrent import GRU, LSTM


@pytest.mark.parametrize(("ours", "theirs"), [(GRU, nn.GRU), (LSTM, nn.LSTM)])
def test_recurrent_networks_are_pytorch_s(ours, theirs):
    torch.manual_seed(0)
    module, reference = ours(6).double(), theirs(6, 6, batch_first=True).double()
    reference.load_state_dict(module.state_dict())
    x = torch.randn(3, 29, 6, dtype=torch.float64, requires_grad=True)
    y, (expected, _) = module(x), reference(x)
    torch.testing.assert_close(y, expected)
    for loss, built in ((y, module), (expected, reference)):
        loss.square().sum().backward()
        built.input_gradient, x.grad = x.grad, None
    torch.testing.assert_close(module.input_gradient, reference.input_gradient)
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(module.get_parameter(name).grad, parameter.grad)


@pytest.mark.parametrize("mixer_class", [GRU, LSTM])
def test_recurrent_networks_start_as_pytorch_s(mixer_class):
    for parameter in mixer_class(64).parameters():
        assert keeps_init(parameter)
        assert 0.11 < parameter.abs().max() <= 1 / 8


def positive(a):
    return a + 0.5 if a >= 0 else torch.sigmoid(a)


def by_hand(module, x):
    """One sequence, position by position and channel by channel."""
    width = module.out_proj.in_features
    h, outputs = [torch.zeros(()).to(x)] * width, []
    for x_t in x:
        a, *gates = (module.in_proj(x_t)).view(-1, width)
        for c in range(width):
            open_gates = [torch.sigmoid(gate[c]) for gate in gates]
            if isinstance(module, MinGRU):
                ((kept, taken),) = [(1 - z, z) for z in open_gates]
            else:
                f, i = open_gates
                kept, taken = f / (f + i), i / (f + i)
            h[c] = kept * h[c] + taken * positive(a[c])
        outputs.append(module.out_proj(torch.stack(h)))
    return torch.stack(outputs)


@pytest.mark.parametrize("mixer_class", [MinGRU, MinLSTM])
def test_minimal_networks_are_their_equations(mixer_class):
    torch.manual_seed(0)
    module = mixer_class(4).double()
    x = 3 * torch.randn(2, 13, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_hand(module, sequence) for sequence in x])
        torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("mixer_class", [MinGRU, MinLSTM])
def test_closed_gates_stay_finite(mixer_class):
    module = mixer_class(4)
    x = torch.randn(1, 50, 4, requires_grad=True)
    with torch.no_grad():
        module.in_proj.weight.mul_(1e4)
    y = module(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_a_state_of_no_width_is_refused():
    with pytest.raises(UserError, match="expand=0: expected at least 1"):
        MinGRU(8, expand=0)
