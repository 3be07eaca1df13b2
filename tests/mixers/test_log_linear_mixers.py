"""Log-linear mixers with equal weights for all levels equal the linear ones."""

import pytest
import torch

from recollect.errors import UserError
from recollect.mixers.delta_net import GatedDeltaNet
from recollect.mixers.log_linear_gated_delta_net import LogLinearGatedDeltaNet
from recollect.mixers.log_linear_mamba2 import LogLinearMamba2
from recollect.mixers.mamba2 import Mamba2
from recollect.mixers.marks import is_decayed, keeps_init

PAIRS = [(LogLinearMamba2, Mamba2), (LogLinearGatedDeltaNet, GatedDeltaNet)]


@pytest.mark.parametrize(("mixer_class", "linear"), PAIRS)
def test_equal_weights_make_it_the_linear_mixer(mixer_class, linear):
    torch.manual_seed(0)
    module, reference = mixer_class(16, 60).double(), linear(16).double()
    missing, _ = module.load_state_dict(reference.state_dict(), strict=False)
    assert set(missing) == {"levels.scale", "levels.proj.weight"}
    x = torch.randn(2, 60, 16, dtype=torch.float64)
    weighted = module(x)
    ones = torch.ones(2, 60, *module.levels.scale.shape, dtype=torch.float64)
    module.levels.forward = lambda _: ones
    torch.testing.assert_close(module(x), reference(x))
    assert not torch.allclose(weighted, module(x), rtol=1e-3)


@pytest.mark.parametrize(("mixer_class", "linear"), PAIRS)
def test_the_weights_of_levels_start_at_one_times_a_map(mixer_class, linear):
    module = mixer_class(32, 100)
    assert module.levels.scale.shape[1] == 8  # for 99 in binary, and for the position itself
    assert (module.levels.scale == 1).all()
    assert keeps_init(module.levels.scale)
    assert not is_decayed(module.levels.scale)


@pytest.mark.parametrize(("mixer_class", "linear"), PAIRS)
def test_longer_sequences_are_refused(mixer_class, linear):
    module = mixer_class(8, 5)
    with pytest.raises(UserError, match="a sequence of 6 tokens"):
        module(torch.zeros(1, 6, 8))
    state = module.initial_state(1)
    for _ in range(5):
        _, state = module.step(torch.zeros(1, 8), state)
    with pytest.raises(UserError, match="a sequence of 6 tokens"):
        module.step(torch.zeros(1, 8), state)
