import pytest
import torch

from recollect.ops import forms
from recollect.ops.feature_maps import elu_features, taylor_features


def test_elu_features_are_positive_and_exponential_below_zero():
    x = torch.tensor([-30.0, -1.0, 0.0, 2.0], dtype=torch.float64)
    expected = torch.tensor([-30.0, -1.0, 0.0, 0.0], dtype=torch.float64).exp()
    expected[-1] = 3
    torch.testing.assert_close(elu_features(x), expected)


@pytest.mark.parametrize("form", ["cpu", "torch"])
@pytest.mark.parametrize(("d", "features"), [(1, 3), (2, 6), (8, 45), (16, 153)])
def test_taylor_features_give_the_expansion_of_exp(d, features, form, monkeypatch):
    monkeypatch.setattr(forms, "form_for", lambda *_: form)
    q, k = torch.randn(2, 4, 5, d, dtype=torch.float64)
    q_features, k_features = taylor_features(q), taylor_features(k)
    assert q_features.shape == (4, 5, features)
    s = (q * k).sum(-1) / d**0.5
    torch.testing.assert_close((q_features * k_features).sum(-1), 1 + s + s**2 / 2)
