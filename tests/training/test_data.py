import pytest
import torch

from recollect.models.config import ModelConfig
from recollect.tasks.batch import Batch
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Split, Task
from recollect.training.config import Seeds, TrainConfig, TrialConfig
from recollect.training.data import TrainingData, held_out
from recollect.training.trial import run_trial

TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=64)
LONGER = MQAR(seq_len=32, num_kv_pairs=4, vocab_size=64)
SEEDS = Seeds(data=1, init=2, order=3)


def rows(batches):
    return sorted(tuple(row) for batch in batches for row in batch.inputs.tolist())


def test_an_epoch_shows_every_example_once_in_a_new_order():
    train = TrainConfig(train_examples=50, batch_size=16)
    data = TrainingData(TASK, train, SEEDS)
    assert data.steps_per_epoch == 4
    epochs = [[data.batch(4 * epoch + i) for i in range(4)] for epoch in range(3)]
    assert [len(batch) for batch in epochs[0]] == [16, 16, 16, 2]
    assert rows(epochs[0]) == rows(epochs[1]) == rows(epochs[2])
    assert not torch.equal(epochs[0][0].inputs, epochs[1][0].inputs)


def test_a_step_has_the_same_examples_whatever_was_asked_before():
    train = TrainConfig(train_examples=64, batch_size=16)
    data, fresh = TrainingData(TASK, train, SEEDS), TrainingData(TASK, train, SEEDS)
    for step in (0, 9, 3, 11):
        data.batch(step)
    assert torch.equal(data.batch(6).inputs, fresh.batch(6).inputs)


def test_order_and_examples_have_seeds_of_their_own():
    train = TrainConfig(train_examples=64, batch_size=64)
    one = TrainingData(TASK, train, SEEDS).batch(0)
    reordered = TrainingData(TASK, train, Seeds(data=1, init=2, order=4)).batch(0)
    redrawn = TrainingData(TASK, train, Seeds(data=9, init=2, order=3)).batch(0)
    assert rows([one]) == rows([reordered])
    assert not torch.equal(one.inputs, reordered.inputs)
    assert rows([one]) != rows([redrawn])


def test_without_a_training_set_every_batch_is_new():
    data = TrainingData(TASK, TrainConfig(batch_size=16), SEEDS)
    assert not torch.equal(data.batch(0).inputs, data.batch(1).inputs)
    assert torch.equal(data.batch(1).inputs, data.batch(1).inputs)


PARTS = {"train": (0, 60), "valid": (60, 80), "test": (80, 100)}


class Divided(Task):
    """A task of 100 tokens, of which each split has its own."""

    vocab_size: int = 100
    seq_len: int = 4
    part: tuple[int, int] = (0, 100)

    @property
    def label(self) -> str:
        return f"divided-{self.seq_len}"

    @property
    def max_len(self) -> int:
        return self.seq_len

    @property
    def chance(self) -> float:
        return 0.0

    def split(self, name: Split) -> Task:
        return self.replace(part=PARTS[name])

    def sample(self, n: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(*self.part, (n, self.seq_len), generator=generator)
        return Batch(tokens, None, tokens)


@pytest.mark.parametrize("train_examples", [None, 64])
@pytest.mark.parametrize("task", [Divided(), Mixture(tasks=(Divided(), Divided(seq_len=6)))])
def test_a_task_is_trained_on_its_own_split(task, train_examples):
    """Otherwise it would be trained on the examples that test it."""
    train = TrainConfig(batch_size=32, train_examples=train_examples)
    data = TrainingData(task, train, SEEDS)
    assert {int(data.batch(step).inputs.max()) // 60 for step in range(8)} == {0}
    assert {int(batch.inputs.min()) // 80 for batch in held_out(task, 64, SEEDS, "test")} == {1}


def test_splits_differ_and_share_the_components_evenly():
    mixture = Mixture(tasks=(TASK, LONGER))
    valid, test = (held_out(mixture, 31, SEEDS, split) for split in ("valid", "test"))
    assert [len(batch) for batch in valid] == [16, 15]
    assert [batch.inputs.shape[1] for batch in valid] == [16, 32]
    assert rows(valid) != rows(test)


def test_a_fixed_set_is_divided_by_the_weights():
    mixture = Mixture(tasks=(TASK, LONGER, TASK.replace(seq_len=20)), weights=(5, 1, 1))
    shares = {n: [len(batch) for batch in held_out(mixture, n, SEEDS, "train")] for n in (70, 10)}
    assert shares == {70: [50, 10, 10], 10: [7, 2, 1]}
    (only,) = held_out(mixture, 2, SEEDS, "train")
    assert only.inputs.shape == (2, 16)


def test_a_mixture_is_tested_at_lengths_that_are_not_trained():
    model = ModelConfig(mixer="linear-attention", d_model=8, n_layers=1)
    cells = [TASK, LONGER, TASK.replace(seq_len=40)]
    result = run_trial(
        TrialConfig(
            task=Mixture(tasks=cells[:2], weights=(5, 1)),
            test_tasks=cells,
            model=model,
            train=TrainConfig(steps=2, batch_size=4, train_examples=12, valid_examples=6),
        )
    )
    assert {cell.label for cell in cells} < set(result.test)


def test_a_mixture_s_epoch_mixes_the_order_of_lengths():
    train = TrainConfig(train_examples=256, batch_size=8)
    data = TrainingData(Mixture(tasks=(TASK, LONGER)), train, SEEDS)
    lengths = [data.batch(step).inputs.shape[1] for step in range(data.steps_per_epoch)]
    assert lengths.count(16) == lengths.count(32) == 16
    assert lengths != sorted(lengths)
