"""Means over examples, and how sure they are."""

import math

import pytest
import torch
import torch.nn.functional as F

from recollect.models.config import ModelConfig
from recollect.tasks.batch import Batch
from recollect.tasks.mqar import MQAR
from recollect.training.evaluate import GROUPS, LOGITS_AT_ONCE, evaluate, metrics, score
from recollect.training.ranks import Ranks


def made_batch(examples: int, answers: int, generator: torch.Generator) -> Batch:
    targets = torch.randint(0, 5, (examples, answers), generator=generator)
    return Batch(
        inputs=targets, positions=torch.arange(answers).expand(examples, -1), targets=targets
    )


def measured(batches, logits):
    return metrics(sum(score(x, b) for b, x in zip(batches, logits, strict=True)), batches)


def test_errors_are_those_of_a_ratio_over_examples():
    """Against the definition, on batches of different numbers of answers."""
    generator = torch.Generator().manual_seed(0)
    batches = [made_batch(7, 3, generator), made_batch(5, 1, generator)]
    logits = [torch.randn(*b.targets.shape, 5, generator=generator) for b in batches]
    found = measured(batches, logits)
    losses, right, answers = [], [], []
    for batch, x in zip(batches, logits, strict=True):
        for row, target in zip(x, batch.targets, strict=True):
            losses.append(F.cross_entropy(row, target, reduction="sum").item())
            right.append((row.argmax(dim=-1) == target).sum().item())
            answers.append(len(target))
    n, total = len(answers), sum(answers)
    for sums, mean, error in (
        (losses, found.loss, found.loss_error),
        (right, found.accuracy, found.accuracy_error),
    ):
        assert math.isclose(mean, sum(sums) / total, rel_tol=1e-5)
        residuals = [(y - mean * q) ** 2 for y, q in zip(sums, answers, strict=True)]
        assert error is not None
        assert math.isclose(error, math.sqrt(sum(residuals) * n / (n - 1)) / total, rel_tol=1e-5)


def test_answers_that_are_right_together_count_as_one():
    """Ten examples of twenty answers, each wholly right or wholly wrong."""
    batch = made_batch(10, 20, torch.Generator().manual_seed(0))
    logits = F.one_hot(batch.targets, 5).float()
    logits[:5] = logits[:5].roll(1, dims=-1)
    found = measured([batch], [logits])
    assert found.accuracy == 0.5
    assert found.accuracy_error is not None
    assert math.isclose(found.accuracy_error, math.sqrt(0.25 / 9))


def test_one_example_has_no_error():
    batch = made_batch(1, 3, torch.Generator().manual_seed(0))
    found = measured([batch], [torch.randn(1, 3, 5)])
    assert found.loss_error is found.accuracy_error is None


TASK = MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
BATCHES = [TASK.sample(37, seed=0), TASK.replace(num_kv_pairs=3).sample(21, seed=1)]
"""With two answers in each example and with three."""


def mqar_model():
    return ModelConfig(mixer="gla", d_model=8).build(TASK)


def by_definition(model, batches) -> list[float]:
    """The mean loss of each group, one answer after the other."""
    answers: dict[int, list[float]] = {group: [] for group in range(GROUPS)}
    with torch.no_grad():
        for batch in batches:
            logits = model.eval()(batch.inputs, batch.positions)
            for i, (row, targets) in enumerate(zip(logits, batch.targets, strict=True)):
                losses = F.cross_entropy(row, targets, reduction="none").tolist()
                answers[i % GROUPS] += losses
    return [sum(own) / len(own) for own in answers.values()]


@pytest.mark.parametrize("logits", [2**21, 7 * 32 * 2, 1])
def test_losses_of_groups_are_those_of_the_definition_whatever_memory_allows(logits, monkeypatch):
    model = mqar_model()
    monkeypatch.setitem(LOGITS_AT_ONCE, "cpu", logits)
    found = evaluate(model, BATCHES)
    expected = by_definition(model, BATCHES)
    assert found.loss_groups == pytest.approx(expected, rel=1e-5)
    assert len({*found.loss_groups}) == GROUPS


class Apart(Ranks):
    """A process whose sums are noted, and not added to those of others."""

    def add_up(self, tensors):
        self.__dict__["sums"] = next(iter(tensors)).clone()


@pytest.mark.parametrize("count", [2, 3])
def test_groups_are_those_of_the_whole_batch_for_several_processes(count):
    model, processes = mqar_model(), [Apart(rank, count) for rank in range(count)]
    for process in processes:
        evaluate(model, BATCHES, ranks=process)
    found = metrics(sum(process.sums for process in processes), BATCHES)
    assert found.loss_groups == pytest.approx(by_definition(model, BATCHES), rel=1e-5)
    assert found.loss == pytest.approx(evaluate(model, BATCHES).loss)


@pytest.mark.parametrize(("examples", "groups"), [((31,), 0), ((32,), GROUPS), ((17, 15), 0)])
def test_a_group_has_two_examples_at_least(examples, groups):
    batches = [TASK.sample(n, seed=0) for n in examples]
    assert len(evaluate(mqar_model(), batches).loss_groups) == groups


def test_where_memory_runs_out_fewer_examples_are_read_at_a_time(monkeypatch):
    model, batches = mqar_model(), [TASK.sample(7, seed=0), TASK.sample(2, seed=1)]
    expected, forward = evaluate(model, batches), type(model).forward
    most = 3

    def small(self, inputs, positions):
        if len(inputs) > most:
            raise torch.OutOfMemoryError
        return forward(self, inputs, positions)

    monkeypatch.setattr(type(model), "forward", small)
    found = evaluate(model, batches)
    assert (found.accuracy, found.loss) == (expected.accuracy, pytest.approx(expected.loss))
    most = 0
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(model, batches)
