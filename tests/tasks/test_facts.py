"""What a user's task states about itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from pydantic import Field

import recollect as rc
from recollect.errors import UserError
from recollect.tasks.batch import Batch
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Task

MODEL = rc.ModelConfig(mixer="linear-attention", d_model=8, n_layers=1)
SOUND = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)
COUNTER = itertools.count(1)


class Stated(Task):
    """A task whose facts are its options."""

    facts: dict[str, Any] = Field(default={})

    @property
    def label(self) -> str:
        return self.facts.get("label", "stated")

    @property
    def vocab_size(self) -> int:
        return self.facts.get("vocab_size", 16)

    @property
    def max_len(self) -> int:
        return self.facts.get("max_len", 8)

    @property
    def chance(self) -> float:
        found = self.facts.get("chance", 0.5)
        return next(COUNTER) / 1e6 if found == "estimated" else found

    @property
    def guess_loss(self) -> float | None:
        return self.facts.get("guess_loss")

    @property
    def marginal_loss(self) -> float | None:
        return self.facts.get("marginal_loss")

    def sample(self, n: int, seed: int) -> Batch:
        inputs = torch.randint(16, (n, 8), generator=torch.Generator().manual_seed(seed))
        return Batch(inputs, None, inputs)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"chance": 50.0}, "task stated: chance is 50.0, expected the accuracy of a guess"),
        ({"chance": -0.1}, "chance is -0.1"),
        ({"chance": 1.0}, "chance is 1.0, expected the accuracy of a guess, from 0 to below 1"),
        ({"chance": None}, "chance is None"),
        ({"chance": "estimated"}, "chance is .* and then .*: if it is estimated"),
        ({"guess_loss": 0.0}, "guess_loss is 0.0, expected a loss above 0"),
        ({"guess_loss": -2.0}, "guess_loss is -2.0"),
        ({"marginal_loss": -2.0}, "marginal_loss is -2.0"),
        ({"vocab_size": 16.0}, "vocab_size is 16.0, expected a whole number"),
        ({"max_len": 0}, "max_len is 0, expected a whole number from 1"),
        ({"label": 7}, "the label of Stated is 7"),
        ({"label": "two\nlines"}, "the label of Stated is 'two"),
    ],
)
def test_facts_that_cannot_be_true_are_refused_before_training(
    facts: dict[str, Any], message: str
) -> None:
    """With a chance level in percent, every model would not have learnt."""
    task = Stated(facts=facts)
    with pytest.raises(UserError, match=message):
        rc.train(MODEL, task, rc.TrainConfig(steps=1))
    for changes in ({"tasks": task}, {"tasks": SOUND, "test_tasks": task}):
        with pytest.raises(UserError, match=message):
            rc.Study("stated", models=MODEL, **changes)


def test_the_facts_of_a_mixture_s_parts_are_checked() -> None:
    task = Mixture(tasks=(Stated(facts={"chance": 50.0}),))
    with pytest.raises(UserError, match=r"task stated: chance is 50\.0"):
        rc.Study("stated", tasks=task, models=MODEL)


@pytest.mark.parametrize("chance", [0, 0.0, 0.999])
def test_each_share_of_right_answers_can_be_a_chance_level(chance: float) -> None:
    assert rc.Study("stated", tasks=Stated(facts={"chance": chance}), models=MODEL).tasks
