"""The mixtures of a position with the one before it."""

import torch

from recollect.ops import forms
from recollect.ops.token_shift import token_shift


def test_all_ways_at_once_are_each_way_alone(monkeypatch):
    x, previous = torch.randn(2, 2, 3, 5, dtype=torch.float64)
    shares = torch.rand(4, 5, dtype=torch.float64)
    alone = token_shift(x, previous, shares)
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    torch.testing.assert_close(token_shift(x, previous, shares), alone)
    torch.testing.assert_close(alone[1], x + (previous - x) * shares[1])
