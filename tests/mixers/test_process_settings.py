"""A constructor that changes a setting of the whole process is refused."""

import pytest
import torch
from torch import nn

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer


class Doubles(nn.Module):
    """It makes float64 the default type."""

    def __init__(self, d_model):
        super().__init__()
        torch.set_default_dtype(torch.float64)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.proj(x)


class WithoutGradients(Doubles):
    """It stops the recording of gradients."""

    def __init__(self, d_model):
        nn.Module.__init__(self)
        self.scale = nn.Parameter(torch.ones(d_model))
        torch.set_grad_enabled(False)


class Breaks(Doubles):
    """It raises with the setting changed."""

    def __init__(self, d_model):
        super().__init__(d_model)
        raise RuntimeError("no room")


class Restores(Doubles):
    """It restores the type itself."""

    def __init__(self, d_model):
        super().__init__(d_model)
        torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def settings_as_before():
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


@pytest.mark.parametrize(
    ("cls", "setting"), [(Doubles, "default type"), (WithoutGradients, "recording of gradients")]
)
def test_a_changed_setting_is_refused_and_restored(cls, setting):
    with pytest.raises(UserError, match=f"changes PyTorch's {setting}"):
        mixer(cls).build(d_model=4)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


def test_an_error_leaves_the_settings_as_they_were():
    with pytest.raises(RuntimeError, match="no room"):
        mixer(Breaks).build(d_model=4)
    assert torch.get_default_dtype() == torch.float32


def test_a_restored_setting_is_allowed():
    assert mixer(Restores).build(d_model=4).proj.weight.dtype == torch.float64
