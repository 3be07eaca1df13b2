import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, vmap

from recollect.ops import cross_entropy
from recollect.ops.cross_entropy import linear_cross_entropy, linear_cross_entropy_definition


def arguments(n, vocab_size, width, scale=1.0, leading=(), dtype=torch.float64):
    """Hidden rows, weight and targets."""
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(*leading, n, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(*leading, vocab_size, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(vocab_size, (*leading, n), generator=generator)
    both = ((scale * hidden).to(dtype).requires_grad_(), weight.to(dtype).requires_grad_())
    return *both, targets


def with_gradients(function, hidden, weight, targets):
    """Three times the loss, and its gradients."""
    loss = 3 * function(hidden, weight, targets)
    return [loss.detach(), *torch.autograd.grad(loss, [hidden, weight])]


def in_float64(hidden, weight, targets):
    """The loss of the definition for the same inputs."""
    exact = (tensor.detach().double().requires_grad_() for tensor in (hidden, weight))
    return with_gradients(linear_cross_entropy_definition, *exact, targets)


@given(n=st.integers(1, 20), vocab_size=st.integers(1, 40), at_once=st.integers(1, 200))
def test_loss_and_gradients_are_those_of_the_definition(n, vocab_size, at_once):
    given = arguments(n, vocab_size, width=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cross_entropy.LOGITS_AT_ONCE, "cpu", at_once)
        found = with_gradients(linear_cross_entropy, *given)
        with torch.no_grad():
            torch.testing.assert_close(3 * linear_cross_entropy(*given), found[0])
    torch.testing.assert_close(found, with_gradients(linear_cross_entropy_definition, *given))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_float32_is_near_float64_for_weak_and_strong_logits(scale):
    given = arguments(130, 8192, 16, scale, dtype=torch.float32)
    found = with_gradients(linear_cross_entropy, *given)
    for value, expected in zip(found, in_float64(*given), strict=True):
        assert torch.isfinite(value).all()
        assert (value - expected).abs().max() <= 5e-3 * expected.abs().max()


def test_half_precision_has_its_soft_max_in_float32():
    given = arguments(50, 300, 16, 0.3, dtype=torch.bfloat16)
    found = with_gradients(linear_cross_entropy, *given)
    assert [value.dtype for value in found] == [torch.float32, torch.bfloat16, torch.bfloat16]
    for value, expected in zip(found, in_float64(*given), strict=True):
        assert (value - expected).abs().max() <= 0.02 * expected.abs().max()


def test_half_precision_adds_up_many_chunks_in_float32(monkeypatch):
    monkeypatch.setitem(cross_entropy.LOGITS_AT_ONCE, "cpu", 4)  # a row at a time
    given = arguments(2000, 4, 3, 0.1, dtype=torch.bfloat16)
    found = with_gradients(linear_cross_entropy, *given)[2]
    expected = in_float64(*given)[2]
    assert found.dtype == torch.bfloat16
    assert (found - expected).abs().max() <= 2**-7 * expected.abs().max()


@pytest.mark.filterwarnings("error")
def test_it_maps_over_models(monkeypatch):
    """The models share the limit of logits: here one prediction of each."""
    monkeypatch.setitem(cross_entropy.LOGITS_AT_ONCE, "cpu", 2 * 4 * 12 - 1)
    hidden, weight, targets = arguments(5, 12, 3, leading=(4,))
    rows, matrices = [], torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: rows.append(len(a)) or matrices(a, b)
    )
    together = vmap(grad(linear_cross_entropy, argnums=(0, 1)))(hidden, weight, targets)
    assert max(rows[::3]) == 1
    for i in range(4):
        alone = with_gradients(linear_cross_entropy_definition, hidden[i], weight[i], targets[i])
        torch.testing.assert_close([3 * gradient[i] for gradient in together], alone[1:])
