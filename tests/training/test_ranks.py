"""How a batch is shared among processes."""

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR
from recollect.training.checkpoint import build_model
from recollect.training.config import TrainConfig, TrialConfig
from recollect.training.data import TrainingData
from recollect.training.optimizer import make_optimizer
from recollect.training.ranks import ALONE, Ranks, own_device
from recollect.training.run import Run
from recollect.training.step import training_step
from recollect.training.trained import Trained
from recollect.training.trial import run_trial


@given(n=st.integers(1, 300), count=st.integers(1, 40))
def test_every_example_is_for_one_process(n, count):
    if n < count:
        with pytest.raises(UserError, match=f"{n} examples for {count} processes"):
            Ranks(0, count).rows(n)
        return
    shares = [list(range(n))[Ranks(rank, count).rows(n)] for rank in range(count)]
    assert [example for share in shares for example in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_there_is_nothing_to_add_up():
    tensor = torch.tensor([1.0, 2.0])
    ALONE.add_up([tensor])
    assert tensor.tolist() == [1.0, 2.0]


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.delenv("LOCAL_RANK")
    assert own_device(torch.device("cuda")) == torch.device("cuda")


class Large(nn.Module):
    """Needs the memory of a whole GPU for three examples in training."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        if self.training and len(x) > 3:
            raise torch.OutOfMemoryError("no memory")
        return self.linear(x.cumsum(dim=1))


def test_where_memory_runs_out_fewer_examples_are_held_at_a_time():
    config = TrialConfig(
        task=MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32),
        model=ModelConfig(mixer=mixer(Large), d_model=8, n_layers=1),
        train=TrainConfig(batch_size=8, steps=3, eval_every=3, valid_examples=8, test_examples=8),
    )
    halved, given = run_trial(config), run_trial(config, rows=2)
    assert halved.history[0].train_loss == given.history[0].train_loss
    assert halved.test == given.test


@pytest.fixture
def _company():
    """A group of this process alone, in which sums stay as they are."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def masks(ranks: Ranks) -> torch.Tensor:
    """Where dropout leaves the embeddings of a process's examples."""
    config = TrialConfig(
        task=MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32),
        model=ModelConfig(mixer="gla", d_model=8, n_layers=1, dropout=0.5),
        train=TrainConfig(batch_size=8),
    )
    run = Run(config, TrainingData(config.task, config.train, config.seeds))
    model = build_model(config)
    seen = []
    model.blocks[0].norm.register_forward_pre_hook(lambda _, given: seen.append(given[0] != 0))
    training_step(Trained(run, model, make_optimizer(model, config.train), []), ranks=ranks)
    return seen[0]


@pytest.mark.usefixtures("_company")
@pytest.mark.parametrize("count", [2, 4])
def test_each_process_has_the_dropout_masks_of_its_examples(count):
    """As a process alone has them."""
    shares = [masks(Ranks(rank, count)) for rank in range(count)]
    assert torch.equal(torch.cat(shares), masks(ALONE))
