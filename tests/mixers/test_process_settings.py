"""A setting of the whole process that changes results is refused, whoever changed it."""

import pytest
import torch
from torch import nn

import recollect as rc
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


TASK = rc.MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)
MODEL = rc.ModelConfig(mixer="attention", d_model=8)
STUDY = rc.Study("small", tasks=TASK, models=MODEL)


@pytest.mark.parametrize(
    "start",
    [
        lambda _: rc.train(MODEL, TASK),
        lambda _: STUDY.check(),
        lambda store: rc.run(STUDY, store=store, workers=0, device="cpu"),
    ],
    ids=["train", "check", "run"],
)
def test_training_in_another_default_type_is_refused(start, tmp_path):
    torch.set_default_dtype(torch.float64)
    with pytest.raises(UserError, match=r"default type is torch\.float64.*TrainConfig\(dtype="):
        start(tmp_path / "results.db")
