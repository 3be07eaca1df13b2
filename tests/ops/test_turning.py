"""Pairs of channels that turn, in every form."""

import pytest
import torch
from forms_agree import FORMS, assert_agree

from recollect.ops import forms
from recollect.ops.turning import turn_pairs


def by_complex_numbers(angles, *vectors):
    """Each pair as one number, and the last channels as they are."""
    turned = []
    for x in vectors:
        first, rest = x[..., : 2 * angles.shape[-1]], x[..., 2 * angles.shape[-1] :]
        pairs = torch.complex(first[..., ::2], first[..., 1::2])
        turn = torch.complex(angles.cos(), angles.sin())[..., None, :]
        turned.append(torch.cat([torch.view_as_real(turn * pairs).flatten(-2), rest], -1))
    return tuple(turned)


@pytest.mark.parametrize("form", FORMS)
def test_turning(form, monkeypatch):
    """Two vectors and one share two angles; their last channel has none."""
    monkeypatch.setattr(forms, "form_for", lambda *_: form)
    inputs = 9 * torch.randn(3, 2), torch.randn(3, 2, 5), torch.randn(3, 1, 5)
    assert_agree(form, turn_pairs, by_complex_numbers, inputs, 2)
