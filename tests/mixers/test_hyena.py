import pytest
import torch

from recollect.errors import UserError
from recollect.mixers.hyena import Hyena
from recollect.mixers.marks import is_decayed
from recollect.ops.convolution import causal_conv_definition


def build(**options):
    torch.manual_seed(0)
    return Hyena(6, 12, **options).double()


def inputs(length=12):
    return torch.randn(2, length, 6, dtype=torch.float64)


def test_two_gates_surround_a_long_convolution():
    module, x = build(), inputs()
    projected = module.in_proj(x)
    short = causal_conv_definition(projected, module.short_filter.weight)
    x1, x2, v = (short + module.short_filter.bias).split(6, dim=-1)
    u = x1 * v
    long = causal_conv_definition(u, module.long_filter.taps(12)) + module.bias * u
    torch.testing.assert_close(module(x), module.out_proj(x2 * long))


def test_the_filter_is_a_sine_network_times_a_decay():
    module = build(filter_order=8, sine_frequency=2.0).long_filter
    x = module.z
    for layer in module.hidden:
        x = torch.sin(2 * layer(x))
    network = module.last(x)
    decay = module.taps(12) / network
    steep = (0.3, 1.5)
    torch.testing.assert_close(decay[-1, -1].item(), 0.01 ** (1 / steep[0]), rtol=1e-5, atol=0)
    torch.testing.assert_close(decay[-1, 0].item(), 0.01 ** (1 / steep[1]), rtol=1e-5, atol=0)
    torch.testing.assert_close(decay[0], torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(decay.log()[6], decay.log()[11] * 6 / 11, rtol=1e-5, atol=0)


def test_only_the_filter_is_spared_weight_decay():
    spared = {name for name, p in build().named_parameters() if not is_decayed(p)}
    hidden = {f"long_filter.hidden.{i}.{part}" for i in range(3) for part in ("weight", "bias")}
    assert spared == hidden | {"long_filter.z", "long_filter.freq", "long_filter.last.weight"}


def test_the_number_of_parameters_is_the_papers():
    d, order, length = 6, 64, 12
    linear = 3 * d * (d + 1) + d * (d + 1)
    short = 3 * d * (3 + 1)
    network = (3 + 1) * order + 2 * (order + 1) * order + order + order * d
    expected = linear + short + network + 3 * length + d
    assert sum(p.numel() for p in build().parameters()) == expected


def test_its_state_is_the_inputs_of_both_convolutions():
    module, x = build(), inputs()
    state = module.initial_state(2)
    for t in range(5):
        _, state = module.step(x[:, t], state)
    assert state["short"].shape == (2, 2, 18)
    assert state["long"]["past"].shape == (2, 5, 6)


def test_a_length_above_max_len_is_refused():
    with pytest.raises(UserError, match="a sequence of 13 tokens, but the filter was built for 12"):
        build()(inputs(13))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter_order": 0}, "filter_order=0: expected at least 1"),
        ({"emb_dim": 4}, "4 time features: expected an odd number"),
        ({"short_filter_order": 0}, "width 0: expected at least 1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_the_bias_starts_normal():
    torch.manual_seed(0)
    bias = Hyena(4000, 2).bias.detach()
    assert bias.std() == pytest.approx(1, abs=0.05)
    assert bias.mean() == pytest.approx(0, abs=0.05)
