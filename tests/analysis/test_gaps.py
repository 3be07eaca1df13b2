import pandas as pd
import torch
from torch import nn

from recollect.analysis.gaps import answers
from recollect.models.config import ModelConfig
from recollect.tasks.batch import Batch
from recollect.tasks.copying import Copy
from recollect.tasks.mqar import MQAR

TASK = MQAR(seq_len=16, num_kv_pairs=3, vocab_size=32)


class Oracle(nn.Module):
    """Answers with the token after the last earlier occurrence, unless that is too far back."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach, self.head = reach, nn.Linear(1, 32, bias=False)

    def forward(self, inputs, positions):
        logits = torch.zeros(*positions.shape, 32)
        for row, (tokens, places) in enumerate(
            zip(inputs.tolist(), positions.tolist(), strict=True)
        ):
            for i, t in enumerate(places):
                last = max(s for s in range(t) if tokens[s] == tokens[t])
                logits[row, i, tokens[last + 1] if t - last <= self.reach else 0] = 1
        return logits


def test_every_query_is_a_row_and_is_right_where_the_model_is():
    batch = TASK.sample(50, seed=0)
    table = answers(Oracle(reach=8), [batch])
    assert len(table) == 150
    assert (table["right"] == (table["gap"] <= 8)).all()
    assert 0 < table["right"].mean() < 1


def test_gap_and_pair_by_hand():
    inputs = torch.tensor([[5, 20, 7, 21, 3, 22, 0, 7, 3, 0, 5]])
    positions = torch.tensor([[7, 8, 10]])
    batch = Batch(inputs, positions, torch.tensor([[21, 22, 20]]))
    expected = {"right": [True] * 3, "gap": [5, 4, 10], "pair": [1, 2, 0]}
    pd.testing.assert_frame_equal(answers(Oracle(reach=99), [batch]), pd.DataFrame(expected))


def test_answers_to_what_did_not_occur_before_are_left_out():
    task = Copy(min_length=3, max_length=3)
    model = ModelConfig(mixer="mamba", d_model=8).build(task)
    batch = task.sample(4, seed=0)
    table = answers(model, [batch, batch])
    assert 0 < len(table) < 2 * batch.targets.numel()
    assert (table["gap"] > 0).all()
    assert model.training


def test_positions_may_be_all_of_them():
    batch = TASK.sample(4, seed=1)
    everywhere = Batch(batch.inputs, None, batch.inputs)
    model = ModelConfig(mixer="mamba", d_model=8).build(TASK)
    table = answers(model, [everywhere])
    seen = sum(len(row) - len(set(row)) for row in batch.inputs.tolist())
    assert len(table) == seen
