import pytest
import torch

from recollect.ops.rotary import rotary, rotary_definition, rotary_multiply_adds, rotary_step


def queries(length, head_dim=6):
    return torch.randn(2, 3, length, head_dim, dtype=torch.float64)


@pytest.mark.parametrize(("length", "offset", "base"), [(1, 0, 1e4), (17, 0, 1e4), (5, 2000, 100)])
def test_it_equals_the_definition(length, offset, base):
    x = queries(length)
    expected = rotary_definition(x, offset=offset, base=float(base))
    torch.testing.assert_close(rotary(x, offset=offset, base=float(base)), expected)


def test_a_pair_turns_by_one_radian_a_position_and_the_last_hardly():
    x = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64).repeat(3, 1)
    position = torch.arange(3, dtype=torch.float64)
    turned = rotary(x)
    torch.testing.assert_close(turned[:, 0], position.cos())
    torch.testing.assert_close(turned[:, 1], position.sin())
    torch.testing.assert_close(turned[:, 3], (position / 100).sin())


def test_steps_equal_the_whole_sequence():
    x = queries(9)
    steps = [rotary_step(x[..., t, :], t) for t in range(9)]
    torch.testing.assert_close(torch.stack(steps, -2), rotary(x))


def test_products_depend_on_the_distance_alone():
    q, k = queries(8), queries(8)
    near = torch.einsum("...td,...sd->...ts", rotary(q), rotary(k))
    far = torch.einsum("...td,...sd->...ts", rotary(q, offset=1000), rotary(k, offset=1000))
    torch.testing.assert_close(near, far)
    assert not torch.allclose(near, torch.einsum("...td,...sd->...ts", q, k))


def test_far_positions_are_exact_in_single_precision():
    x = torch.randn(4, 8)
    exact = rotary(x.double(), offset=100_000)
    torch.testing.assert_close(rotary(x, offset=100_000).double(), exact, rtol=0, atol=1e-6)


def test_multiply_adds():
    assert rotary_multiply_adds(10, 6) == 10 * 3 * 4
