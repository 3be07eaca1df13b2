"""Warnings of ways to answer a user's task without recall."""

import warnings
from typing import ClassVar

import pytest
import torch

import recollect as rc
from recollect.tasks.batch import Batch
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import TASKS, Task, register_task
from recollect.tasks.task import task as task_named
from recollect.training.config import TrainConfig
from recollect.training.shortcuts import warn_of_shortcuts

TRAIN = TrainConfig(steps=1000, batch_size=64, test_examples=500)


class FirstToken(Task):
    """The first token is asked at the end, in one of `pool` examples; 0: in new ones."""

    vocab_size: int = 16
    max_len: ClassVar[int] = 8  # type: ignore[misc]
    chance: float = 1 / 16
    label: str = "first"
    pool: int = 0
    apart: bool = False

    def split(self, name: str) -> Task:
        if self.apart and name == "test":
            return self.replace(apart=False, pool=self.pool + 1)
        return self

    def sample(self, n: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        if self.pool:
            rows = torch.randint(self.pool, (n,), generator=generator)
            generator = torch.Generator().manual_seed(self.pool)
            inputs = torch.randint(16, (self.pool, 8), generator=generator)[rows]
        else:
            inputs = torch.randint(16, (n, 8), generator=generator)
        return Batch(inputs, torch.full((n, 1), 7), inputs[:, :1])


class Unequal(FirstToken):
    """Answers that can be guessed from their frequency, or from their place among the questions."""

    label: str = "unequal"
    by_place: bool = False

    def sample(self, n: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randint(16, (n, 8), generator=generator)
        if self.by_place:
            targets = torch.tensor([[3, 5]]).expand(n, -1)
        else:
            targets = (torch.rand((n, 2), generator=generator) < 0.7).long()
        return Batch(inputs, torch.tensor([[6, 7]]).expand(n, -1), targets)


def warned(task: Task, train: TrainConfig = TRAIN) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn_of_shortcuts(task, train)
    return [str(warning.message) for warning in found]


def test_test_examples_that_the_training_has_are_named() -> None:
    """A pool that the whole training knows would give an accuracy of 1 by memory."""
    assert (
        "500 of 500 test examples are among 2,048 training examples"
        in warned(FirstToken(pool=100))[0]
    )
    # few are among the examples that are compared, but most are in a training of 64,000 examples
    assert "test examples are among" in warned(FirstToken(pool=20_000))[0]
    assert warned(FirstToken()) == []


def test_test_examples_kept_apart_give_no_warning() -> None:
    assert warned(FirstToken(pool=500, apart=True)) == []


class WithoutRepetition(FirstToken):
    """It can draw no more examples at once than it has."""

    def sample(self, n: int, seed: int) -> Batch:
        whole = torch.randint(16, (1000, 8), generator=torch.Generator().manual_seed(0))
        assert n <= len(whole)
        rows = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))[:n]
        return Batch(whole[rows], torch.full((n, 1), 7), whole[rows, :1])


def test_examples_are_drawn_in_the_portions_of_the_training() -> None:
    assert (
        "among 2,048 training examples, so about 100 % of them would be among the 64,000"
        in warned(WithoutRepetition(chance=0.5))[0]
    )


def test_a_part_of_a_mixture_has_its_share_of_the_training() -> None:
    sound = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)
    assert warned(Mixture(tasks=(sound, FirstToken(pool=20_000)), weights=(999, 1))) == []


def test_a_small_training_set_is_not_taken_for_more() -> None:
    few = TRAIN.replace(train_examples=100)
    assert warned(FirstToken(pool=20_000), few) == []


@pytest.mark.parametrize("by_place", [False, True])
def test_guesses_above_the_chance_level_are_named(by_place: bool) -> None:
    task = Unequal(by_place=by_place, chance=0.5)
    words = "one answer to each question" if by_place else "the answer 1 to every question"
    (line,) = warned(task)
    assert words in line
    assert "but chance is 0.5" in line
    assert warned(task.replace(chance=0.999 if by_place else 0.7)) == []


@pytest.mark.parametrize(
    "certain",
    [
        MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16),
        task_named("palindrome", length=1),
        task_named("selective-copying", seq_len=9, num_tokens=4, vocab_size=8),
    ],
)
def test_a_task_that_a_guess_always_solves_is_named(certain: Task) -> None:
    """No model could be said to have learnt it."""
    (line,) = warned(certain)
    assert "always right (chance 1)" in line


def test_parts_of_a_mixture_are_looked_at_too() -> None:
    sound = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)
    mixed = Mixture(tasks=(sound, FirstToken(pool=2000)))
    assert ["task first" in line for line in warned(mixed)] == [True]
    assert warned(sound) == []


def test_studies_and_single_trials_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TASKS, "_entries", {**TASKS._entries})  # other tests see no new task

    @register_task("shortcut")
    class Named(FirstToken):
        """A study takes no task without a name."""

    model = rc.ModelConfig(mixer="linear-attention", d_model=8, n_layers=1)
    short = TrainConfig(steps=2, batch_size=64, valid_examples=2, test_examples=200)
    with pytest.warns(UserWarning, match="test examples are among 128 training"):
        rc.train(model, FirstToken(pool=20, chance=0.5), short)
    study = rc.Study("pool", tasks=Named(pool=20, chance=0.5), models=model, train=short)
    with pytest.warns(UserWarning, match="test examples are among 128 training"):
        study.check()


def test_training_that_diverges_says_that_it_was_not_tested() -> None:
    model = rc.ModelConfig(mixer="linear-attention", d_model=8, n_layers=1)
    wild = TrainConfig(steps=20, learning_rate=1e30, warmup=0.0, valid_examples=2, test_examples=2)
    with pytest.warns(UserWarning, match="diverged at step .* not tested"):
        result = rc.train(model, MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16), wild)
    assert result.test == {}
