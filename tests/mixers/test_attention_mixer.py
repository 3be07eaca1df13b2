import pytest
import torch

from recollect.errors import UserError
from recollect.mixers.attention import Attention


def build(d_model=8, **options):
    torch.manual_seed(0)
    return Attention(d_model, **options).double()


def inputs(length=10, d_model=8):
    return torch.randn(2, length, d_model, dtype=torch.float64)


def test_it_is_softmax_attention_over_the_heads():
    module, x = build(n_heads=2), inputs()
    q, k, v = module.qkv_proj(x).chunk(3, dim=-1)
    future = torch.ones(10, 10, dtype=torch.bool).triu(1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = q[..., head] @ k[..., head].mT / 2
        heads.append(scores.masked_fill(future, -torch.inf).softmax(-1) @ v[..., head])
    torch.testing.assert_close(module(x), module.out_proj(torch.cat(heads, -1)))


def test_it_wants_positions():
    assert Attention.wants_positions


@pytest.mark.parametrize(("options", "sees_order"), [({}, False), ({"rope": True}, True)])
def test_only_rotation_tells_it_the_order_of_the_past(options, sees_order):
    module, x = build(**options), inputs()
    swapped = x[:, [1, 0, *range(2, 10)]]
    assert torch.allclose(module(swapped)[:, 2:], module(x)[:, 2:]) is not sees_order


def test_its_convolution_joins_neighbours():
    x = inputs()
    changed = x.clone()
    changed[:, 4] += 1
    for width, reach in ((0, 0), (3, 2)):
        module = build(qkv_conv=width, window=1)
        differs = (module(changed) - module(x)).abs().amax((0, 2)) > 1e-12
        assert differs.nonzero()[:, 0].tolist() == list(range(4, 4 + reach + 1))


def test_a_window_bounds_the_state():
    module, x = build(window=4), inputs(10)
    state = module.initial_state(2)
    sizes = []
    for t in range(10):
        _, state = module.step(x[:, t], state)
        sizes.append(state["keys"].untyped_storage().nbytes() // (2 * 8 * 8))
    assert sizes == [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]


def test_dropout_acts_in_training_only():
    module, x = build(dropout=0.5), inputs()
    training = module(x)
    assert not torch.allclose(training, module(x))
    module.eval()
    assert torch.equal(module(x), module(x))
    assert torch.equal(module(x), build()(x))


def test_biases_are_optional():
    assert {name for name, _ in build(bias=False).named_parameters()} == {
        "qkv_proj.weight",
        "out_proj.weight",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 3}, "n_heads=3: expected a divisor of d_model=8"),
        ({"n_heads": 0}, "n_heads=0: expected a divisor"),
        ({"n_heads": 8, "rope": True}, "a head has width 1: rotary positions need an even"),
        ({"window": 0}, "window=0: expected at least 1"),
        ({"dropout": 1.0}, r"dropout=1\.0: expected at least 0 and less than 1"),
        ({"qkv_conv": -1}, "width -1: expected at least 1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)
