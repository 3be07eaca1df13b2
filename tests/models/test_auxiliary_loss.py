import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)


class Restrained(nn.Module):
    """A user's mixer with an auxiliary loss on the size of its input."""

    def __init__(self, d_model):
        super().__init__()
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.out_proj(x)

    def auxiliary_loss(self, x):
        return x.square().sum()


def losses(model):
    """The loss, and the mean cross-entropy alone."""
    batch = TASK.sample(5, seed=0)
    logits = model(batch.inputs, batch.positions)
    entropy = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
    return model.loss(batch.inputs, batch.positions, batch.targets), entropy


@pytest.mark.parametrize("short_conv", [0, 3])
def test_training_adds_what_mixers_ask_for_their_inputs(short_conv):
    config = ModelConfig(mixer=[Restrained, "attention"], d_model=8, short_conv=short_conv)
    model = config.build(TASK).double()
    inputs = []
    hook = model.blocks[0].mixer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    loss, entropy = losses(model)
    hook.remove()
    torch.testing.assert_close(loss - entropy, inputs[0].square().sum())
    evaluated, entropy = losses(model.eval())
    torch.testing.assert_close(evaluated, entropy)


def test_mixers_without_such_a_wish_leave_the_loss_as_it_is():
    loss, entropy = losses(ModelConfig(mixer="attention", d_model=8).build(TASK))
    torch.testing.assert_close(loss, entropy)


def test_learned_selection_is_trained_towards_fewer_positions():
    model = ModelConfig(mixer="base-conv-learned", d_model=8).build(TASK)
    loss, entropy = losses(model)
    # scores start near zero, gates at 1/2, and a quarter of 16 positions may pass
    assert (loss - entropy).item() == pytest.approx(1e-3 * (0.5 - 0.25), rel=0.1)


class OnePerExample(Restrained):
    """Its auxiliary loss is a number for each example, not one for all."""

    def auxiliary_loss(self, x):
        return x.square().mean((1, 2))


def test_more_than_one_number_is_refused():
    model = ModelConfig(mixer=OnePerExample, d_model=8).build(TASK)
    with pytest.raises(UserError, match=r"OnePerExample returned the shape \(5,\) as its"):
        losses(model)
