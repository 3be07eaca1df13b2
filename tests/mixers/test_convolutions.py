import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recollect.errors import UserError
from recollect.mixers.base_conv import BaseConv
from recollect.mixers.long_conv import LongConv, time_features
from recollect.mixers.marks import is_decayed
from recollect.mixers.short_conv import ShortConv
from recollect.ops.convolution import causal_conv_definition


def inputs(length=10, channels=6):
    return torch.randn(2, length, channels, dtype=torch.float64)


@pytest.mark.parametrize("width", [1, 4])
def test_a_short_convolution_is_pytorch_s_depthwise_one(width):
    module, x = ShortConv(6, width).double(), inputs()
    reference = nn.Conv1d(6, 6, width, groups=6, padding=width - 1).double()
    with torch.no_grad():  # PyTorch correlates: its last tap is lag 0
        reference.weight.copy_(module.weight.flip(0).T[:, None])
        reference.bias.copy_(module.bias)
    torch.testing.assert_close(module(x), reference(x.mT)[..., :10].mT)


def test_a_short_convolution_starts_as_pytorch_s():
    module = ShortConv(1000, 4)
    for parameter in (module.weight.detach(), module.bias.detach()):
        assert parameter.abs().max() == pytest.approx(0.5, abs=0.01)
        assert parameter.mean() == pytest.approx(0, abs=0.05)
    assert ShortConv(3, 4, bias=False).bias is None


def test_the_state_of_a_short_convolution_is_constant():
    module = ShortConv(6, 4).double()
    state = module.initial_state(2)
    for _ in range(9):
        assert state.shape == (2, 3, 6)
        _, state = module.step(torch.randn(2, 6, dtype=torch.float64), state)


def test_a_width_below_one_is_refused():
    with pytest.raises(UserError, match="width 0: expected at least 1"):
        ShortConv(4, 0)


def test_base_conv_gates_a_linear_map_by_a_convolution():
    module, x = BaseConv(6, 10, kernel_size=3).double(), inputs()
    gate = causal_conv_definition(x, module.conv.weight) + module.conv.bias
    linear = x @ module.projection.weight.T + module.projection.bias
    torch.testing.assert_close(module(x), linear * gate + x)


def test_base_conv_s_full_convolution_adds_its_input():
    module, x = BaseConv(6, 10, kernel_size="full").double(), inputs()
    filter = module.conv.mlp(time_features(10, 3).double())
    gate = causal_conv_definition(x, filter) + x
    torch.testing.assert_close(module(x), module.projection(x) * gate + x)


@pytest.mark.parametrize(
    ("kernel_size", "reaches"),
    [(None, [3, 20, 3]), (4, [4, 4, 4]), ([2, 5], [2, 5, 2]), (["full", 1], [20, 1, 20])],
)
def test_a_list_of_kernel_sizes_runs_over_the_layers(kernel_size, reaches):
    options = {} if kernel_size is None else {"kernel_size": kernel_size}
    x = inputs(20)
    changed = x.clone()
    changed[:, 0] += 1
    for layer_idx, reach in enumerate(reaches):
        module = BaseConv(6, 20, layer_idx, **options).double()
        differs = (module(changed) - module(x)).abs().amax((0, 2)) > 1e-12
        assert differs.nonzero()[:, 0].tolist() == list(range(reach))


@pytest.mark.parametrize("kernel_size", [0, -1, "half", [3, 0], []])
def test_a_wrong_kernel_size_is_refused(kernel_size):
    with pytest.raises(UserError, match="kernel_size="):
        BaseConv(6, 10, kernel_size=kernel_size)


def test_long_conv_is_a_squashed_filter_a_skip_and_a_gated_unit():
    module, x = LongConv(6, 10, squash=0.004).double(), inputs()
    kernel = module.conv.kernel
    squashed = kernel.sign() * (kernel.abs() - 0.004).clamp(min=0)
    assert 0 < (squashed == 0).sum() < squashed.numel()
    y = F.gelu(causal_conv_definition(x, squashed) + module.D * x)
    value, gate = (y @ module.out_proj.weight.T + module.out_proj.bias).chunk(2, dim=-1)
    torch.testing.assert_close(module(x), value * gate.sigmoid())


def test_long_conv_s_taps_start_decaying_and_are_not_decayed_by_weight():
    kernel = LongConv(64, 256).conv.kernel
    assert not is_decayed(kernel)
    kernel = kernel.detach()
    early, late = kernel[:64].std(0), kernel[-64:].std(0)
    assert early[0] == pytest.approx(0.02, rel=0.4)
    assert late[0] > 0.2 * early[0]
    assert late[-1] < 1e-3 * early[-1]


def test_a_negative_threshold_is_refused():
    with pytest.raises(UserError, match=r"squash=-1\.0: expected"):
        LongConv(6, 10, squash=-1.0)


@pytest.mark.parametrize("cls", [LongConv, BaseConv])
def test_a_length_above_max_len_is_refused(cls):
    options = {"kernel_size": "full"} if cls is BaseConv else {}
    module = cls(d_model=6, max_len=3, **options).double()
    message = "a sequence of 4 tokens, but the filter was built for 3; build .* larger max_len"
    with pytest.raises(UserError, match=message):
        module(inputs(4))
    state = module.initial_state(2)
    for _ in range(3):
        _, state = module.step(torch.randn(2, 6, dtype=torch.float64), state)
    with pytest.raises(UserError, match=message):
        module.step(torch.randn(2, 6, dtype=torch.float64), state)


def test_time_features_are_the_time_and_waves_over_it():
    features = time_features(8, 5)
    assert features.shape == (8, 5)
    torch.testing.assert_close(features[:, 0], torch.arange(8) / 7)
    turns = torch.arange(8) / 8 * 2 * torch.pi
    torch.testing.assert_close(features[:, 2], turns.cos())
    torch.testing.assert_close(features[:, 4], -turns.sin())
    torch.testing.assert_close(features[:, 3], -(1e-4 * turns).sin())


@pytest.mark.parametrize("width", [1, 4])
def test_an_even_number_of_time_features_is_refused(width):
    with pytest.raises(UserError, match=f"{width} time features: expected an odd number"):
        time_features(8, width)
