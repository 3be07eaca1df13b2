import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from recollect.analysis.dynamics import (
    EXAMPLES,
    WHOLE_LAYER,
    Dynamics,
    from_columns,
    observe,
    to_columns,
)
from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.tasks.associative_recall import AssociativeRecall
from recollect.tasks.batch import Batch
from recollect.tasks.mixture import Mixture
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import task
from recollect.training.config import TrainConfig, TrialConfig

pytestmark = pytest.mark.slow

TASK = MQAR(seq_len=16, num_kv_pairs=3, vocab_size=32)


def one_back_and_everywhere(length: int) -> nn.Module:
    """Attention by hand: the first of its heads looks one position back, by the one-hot positions
    that it reads; the second looks at all positions alike."""
    width = 2 * length
    config = ModelConfig(mixer=mixer("attention", n_heads=2), d_model=width, n_layers=1)
    model = config.build(TASK.replace(seq_len=length)).double()
    model.embedding.weight.data.zero_()
    model.position_embedding.weight.data = torch.eye(length, width, dtype=torch.float64)
    attention = model.blocks[0].mixer
    query = torch.zeros(width, width, dtype=torch.float64)
    query[:length, :length] = 100 * torch.eye(length, dtype=torch.float64).roll(-1, 0)
    key = torch.zeros_like(query)
    key[:length, :length] = torch.eye(length, dtype=torch.float64)
    attention.qkv_proj.weight.data = torch.cat([query, key, torch.eye(width).double()])
    attention.out_proj.weight.data = torch.eye(width).double()
    return model


def test_known_weights_have_known_scores():
    batch = TASK.sample(4, seed=0)
    scores = observe(one_back_and_everywhere(16), [batch]).scores.set_index(["layer", "head"])
    assert list(scores.index) == [(0, WHOLE_LAYER), (0, 0), (0, 1)]
    assert scores.loc[(0, 0), "previous_token"] == pytest.approx(1)
    just_read = [
        tokens[query - 2] == tokens[query]
        for tokens, queries in zip(batch.inputs.tolist(), batch.positions.tolist(), strict=True)
        for query in queries
    ]
    assert scores.loc[(0, 0), "induction"] == pytest.approx(np.mean(just_read))
    everywhere = [1 / (t + 1) for t in range(1, 16)]
    assert scores.loc[(0, 1), "previous_token"] == pytest.approx(np.mean(everywhere))
    queries = (1 / (batch.positions + 1.0)).mean().item()
    assert scores.loc[(0, 1), "induction"] == pytest.approx(queries)
    whole = scores.loc[(0, WHOLE_LAYER)]
    assert scores["previous_token"].min() < whole["previous_token"] < 1


def test_induction_is_scored_where_the_model_must_answer():
    """The second 9 recurs too, but nobody asks for it."""
    inputs = torch.tensor([[5, 20, 9, 21, 9, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    batch = Batch(inputs, torch.tensor([[5]]), torch.tensor([[20]]))
    scores = observe(one_back_and_everywhere(16), [batch]).scores
    assert scores["induction"].iloc[2] == pytest.approx(1 / 6)


def test_accuracy_by_gap_and_pair_is_that_of_every_answer():
    model = ModelConfig(mixer="mamba", d_model=8).build(TASK)
    batch = TASK.sample(200, seed=0)
    seen = observe(model, [batch])
    right = model.eval()(batch.inputs, batch.positions).argmax(-1) == batch.targets
    for table in (seen.gaps, seen.pairs):
        assert table["answers"].sum() == 600
        total = (table["accuracy"] * table["answers"]).sum()
        assert total == pytest.approx(right.sum().item())
    assert list(seen.pairs["pair"]) == [0, 1, 2]
    assert list(seen.pairs["answers"]) == [200] * 3


def test_a_task_in_which_nothing_recurs_has_scores_without_induction():
    inputs = torch.arange(16)[None]
    batch = Batch(inputs, torch.tensor([[15]]), torch.tensor([[0]]))
    seen = observe(ModelConfig(mixer="mamba", d_model=8).build(TASK), [batch])
    assert seen.gaps.empty
    assert seen.pairs.empty
    assert seen.scores["induction"].isna().all()
    assert seen.scores["previous_token"].notna().all()
    for table, again in zip(
        vars(seen).values(), vars(from_columns(to_columns(seen))).values(), strict=True
    ):
        pd.testing.assert_frame_equal(table, again, check_dtype=False)


class Draws(nn.Module):
    """A user's mixer that draws random numbers, in evaluation too."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x) + torch.rand(())


def test_looking_changes_neither_the_model_nor_the_random_numbers():
    model = ModelConfig(mixer=Draws, d_model=8, dropout=0.5).build(TASK)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    observe(model, [TASK.sample(4, seed=0)])
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def config(**changes) -> TrialConfig:
    train = TrainConfig(steps=4, batch_size=4, eval_every=2, valid_examples=600)
    model = ModelConfig(mixer="attention", d_model=8, n_layers=2)
    return TrialConfig(task=TASK, model=model, train=train).replace(**changes)


def test_a_trial_is_observed_on_the_first_of_its_validation_examples():
    dynamics = Dynamics(config())
    (examples,) = dynamics.examples
    assert len(examples) == EXAMPLES
    again = Dynamics(config(model=ModelConfig(mixer="mamba", d_model=8)))
    assert torch.equal(examples.inputs, again.examples[0].inputs)


def test_all_steps_stand_in_one_table():
    trial = config()
    model, dynamics = trial.model.build(TASK), Dynamics(trial)
    for step in (0, 2):
        dynamics.observe(step, model)
    seen = dynamics.observation
    assert list(seen.scores["step"]) == [0] * 4 + [2] * 4
    assert list(seen.scores["layer"]) == [0, 0, 1, 1] * 2
    other = Dynamics(trial)
    other.go_on(dynamics.seen())
    pd.testing.assert_frame_equal(other.observation.scores, seen.scores)
    other.go_on(dynamics.seen())
    pd.testing.assert_frame_equal(other.observation.pairs, seen.pairs)


def test_a_mixture_is_looked_at_in_its_longest_examples():
    short = TASK.replace(seq_len=14)
    trial = config(task=Mixture(tasks=(short, TASK)), model=ModelConfig(mixer="mamba", d_model=8))
    dynamics = Dynamics(trial)
    assert [len(batch) for batch in dynamics.examples] == [EXAMPLES // 2] * 2
    model = trial.model.build(trial.task)
    dynamics.observe(0, model)
    assert dynamics.observation.pairs["answers"].sum() == 3 * EXAMPLES
    assert len(dynamics.attention_map(model).tokens) == 16


def test_the_map_is_spelled_by_the_task_of_its_examples():
    """Also if there is no validation example of the first task of a mixture."""
    recall = AssociativeRecall(num_kv_pairs=4, vocab_size=32)
    backwards = task("palindrome", length=6, num_tokens=31)
    mixture = Mixture(tasks=(recall, backwards), weights=(1, 9))
    trial = config(task=mixture)
    trial = trial.replace(train=trial.train.replace(valid_examples=1))
    dynamics = Dynamics(trial)
    seen = dynamics.attention_map(trial.model.build(mixture))
    (examples,) = dynamics.examples
    assert seen.tokens == tuple(map(backwards.spell, examples.inputs[0].tolist()))


def test_the_map_names_tokens_queries_and_keys():
    task = AssociativeRecall(num_kv_pairs=4)
    trial = config(task=task)
    model, dynamics = trial.model.build(task), Dynamics(trial)
    seen = dynamics.attention_map(model)
    tokens = dynamics.examples[0].inputs[0].tolist()
    assert seen.tokens == tuple(map(task.spell, tokens))
    for query, key in zip(seen.queries.tolist(), seen.keys.tolist(), strict=True):
        assert key == max(s for s in range(query) if tokens[s] == tokens[query])
    assert seen.matrices.shape == (2, len(tokens), len(tokens))
    assert math.isclose(seen.matrices[0, 5].sum().item(), 1, rel_tol=1e-5)
