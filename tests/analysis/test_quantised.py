"""A state in few bits: what it answers, and that it holds no more than it has room for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from recollect.analysis.quantised import capacity, quantised
from recollect.errors import UserError
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import task
from recollect.training.config import TrainConfig
from recollect.training.evaluate import evaluate
from recollect.training.trial import train

RECALL = MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)
ANYWHERE = MQAR(seq_len=256, num_kv_pairs=1, vocab_size=258, power=1)
"""One question, at any slot, so that few of many examples ask early."""


class Unsure(MQAR):
    """A task that does not know where its questions begin."""

    @property
    def first_question(self) -> None:
        """Unknown."""
        return


class Mistaken(MQAR):
    """A task whose questions begin earlier than it says."""

    @property
    def first_question(self) -> int:
        """Too late."""
        return self.context_len + 2


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_numbers_are_rounded_to_so_many_bits(bits: int) -> None:
    state = torch.randn(3, 40, 50)
    rounded = quantised(state, bits)
    for before, after in zip(state, rounded, strict=True):
        assert len(after.unique()) <= 2**bits - 1
        assert after.abs().max() == pytest.approx(before.abs().max().item())
        assert (after - before).abs().max() <= before.abs().max() / (2**bits - 2) + 1e-6
    assert torch.equal(quantised(torch.zeros(2, 3), bits), torch.zeros(2, 3))


def test_fewer_bits_hold_less_and_none_more_than_they_are() -> None:
    config = ModelConfig(mixer="gla", d_model=16, n_layers=1, short_conv=3)
    few = TrainConfig(
        learning_rate=2e-2, steps=80, batch_size=64, valid_examples=100, test_examples=100
    )
    result = train(config, RECALL, few)
    found = capacity(result.model, RECALL, bits=(32, 8, 2)).set_index("bits")
    batch = RECALL.sample(256, seed=0)
    as_trained = evaluate(result.model, [batch])
    assert found.loc[32, "loss"] == pytest.approx(as_trained.loss, rel=1e-3)
    assert found.loc[32, "accuracy"] == pytest.approx(as_trained.accuracy, abs=0.01)
    assert found.loc[32, "recovered_bits"] > 0.5
    assert found.loc[8, "loss"] == pytest.approx(found.loc[32, "loss"], rel=0.1)
    assert found.loc[2, "loss"] > found.loc[32, "loss"]
    assert (found["per_bit"] * found.index).tolist() == pytest.approx(found["per_number"].tolist())
    assert (found["per_bit"] < 1).all()


@pytest.mark.parametrize("kind", [MQAR, Unsure])
def test_every_answer_is_read_where_it_is_asked(kind: type[MQAR]) -> None:
    recall = kind(**{name: getattr(ANYWHERE, name) for name in type(ANYWHERE).model_fields})
    batch = recall.sample(256, seed=0)
    assert batch.positions is not None
    assert batch.positions.min() < recall.sample(64, seed=0).positions.min()  # a rare place
    model = ModelConfig(mixer="linear-attention", d_model=8, n_layers=1).build(recall)
    with torch.no_grad():
        model.head.weight.mul_(100)  # so that each answer has a loss of its own
    found = capacity(model, recall, bits=(32, 2)).set_index("bits")
    as_evaluated = evaluate(model, [batch])
    assert found.loc[32, "loss"] == pytest.approx(as_evaluated.loss, rel=1e-5)
    assert found.loc[32, "accuracy"] == as_evaluated.accuracy
    assert found["loss"].notna().all()


def test_a_question_before_the_first_one_is_refused() -> None:
    late = Mistaken(seq_len=8, num_kv_pairs=2, vocab_size=16)
    model = ModelConfig(mixer="attention", d_model=8, n_layers=1).build(late)
    with pytest.raises(UserError, match="asks at position 4, but first_question is 6"):
        capacity(model, late, examples=8)


def test_a_model_is_left_as_it_was() -> None:
    model = ModelConfig(mixer="attention", d_model=8, n_layers=1).build(RECALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    capacity(model.train(), RECALL, bits=[2], examples=4)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_error_leaves_the_model_in_training_mode() -> None:
    late = Mistaken(seq_len=8, num_kv_pairs=2, vocab_size=16)
    model = ModelConfig(mixer=LayersFirst, d_model=8, n_layers=1).build(RECALL).train()
    for recall in (late, RECALL):
        with pytest.raises(UserError):
            capacity(model, recall, bits=2, examples=8)
        assert model.training


def test_bits_are_one_or_several_whole_numbers() -> None:
    model = ModelConfig(mixer="attention", d_model=8, n_layers=1).build(RECALL)
    one, several = (capacity(model, RECALL, bits=bits, examples=4) for bits in (8, [8]))
    assert one.equals(several)
    for bits in ([2.5], 2.5, [8, "4"], "8", True, None):
        with pytest.raises(UserError, match=r"bits=.*: expected whole numbers from 2 to 32"):
            capacity(model, RECALL, bits=bits)  # type: ignore[arg-type]


def test_a_task_with_more_token_ids_than_the_model_is_refused() -> None:
    model = ModelConfig(mixer="gla", d_model=8, n_layers=1).build(RECALL)
    with pytest.raises(UserError, match="vocab_size=64, but the model was trained with 16"):
        capacity(model, RECALL.replace(vocab_size=64), examples=4)


def test_what_has_no_capacity_is_explained() -> None:
    model = ModelConfig(mixer="attention", d_model=8, n_layers=1).build(RECALL)
    with pytest.raises(UserError, match=r"bits=\[1\]: expected whole numbers from 2 to 32"):
        capacity(model, RECALL, bits=[1])
    hops = task("depo", min_nodes=3, max_nodes=3)
    with pytest.raises(UserError, match=r"the entropy of the answers of .* is unknown"):
        capacity(model, hops)


class LayersFirst(nn.Module):
    """Its state has the examples in the second dimension, as torch.nn.GRU has it."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gru = nn.GRU(d_model, d_model, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]

    def initial_state(self, batch_size: int) -> Tensor:
        return self.gru.weight_hh_l0.new_zeros(1, batch_size, self.gru.hidden_size)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.gru(x_t[:, None], state)
        return y[:, 0], state


def test_a_state_that_cannot_be_rounded_example_by_example_is_refused() -> None:
    """It would stay as it is, and seem to be stored in two bits."""
    model = ModelConfig(mixer=LayersFirst, d_model=8, n_layers=1).build(RECALL)
    assert len(capacity(model, RECALL, bits=(32,))) == 1
    with pytest.raises(UserError, match=r"shape \(1, 256, 8\): expected the 256 examples"):
        capacity(model, RECALL, bits=(2,))
