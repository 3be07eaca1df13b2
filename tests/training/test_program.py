"""What a program does beside the numbers: memory that runs out, steps that are captured."""

import itertools
from typing import NamedTuple

import pytest
import torch
from tape import capture
from test_population import TASK, TRAIN, assert_alike, together, trials

import recollect.training.population as population_module
import recollect.training.program as program_module
from recollect.models.config import ModelConfig
from recollect.tasks.mixture import Mixture
from recollect.training.captured import Captured
from recollect.training.config import Seeds
from recollect.training.stack import Stack
from recollect.training.trial import run_trial

pytestmark = [
    pytest.mark.filterwarnings("error:.*one model at a time"),
    pytest.mark.filterwarnings("error:.*without CUDA graphs"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]
GLA = ModelConfig(mixer="gla", d_model=8, dropout=0.1)


def four() -> list:
    return [*trials(model=GLA), *trials(model=GLA, seeds=Seeds.of(3))[:1]]


def alike_alone(configs, **options) -> None:
    records = []
    results = together(
        configs, on_record=lambda place, r: records.append((place, r.step)), **options
    )
    assert len(records) == len({*records}), "nothing is validated twice"
    for result, config in zip(results, configs, strict=True):
        assert_alike(result, run_trial(config))


class Call(NamedTuple):
    what: str
    models: int
    examples: int
    length: int
    step: int


@pytest.fixture
def lacking(monkeypatch):
    """A memory that is too small for some calls, and the calls."""
    calls = []

    def plant(too_small) -> list:
        class Large(Stack):
            def gradients(self, batch, *rest):
                return self._tried("step", batch, super().gradients, batch, *rest)

            def scores(self, batch, *rest):
                return self._tried("scores", batch, super().scores, batch, *rest)

            def _tried(self, what, batch, function, *arguments):
                _, examples, length = batch.inputs.shape
                calls.append(Call(what, len(self), examples, length, self.steps))
                if too_small(calls[-1]):
                    raise torch.OutOfMemoryError
                return function(*arguments)

        monkeypatch.setattr(program_module, "Stack", Large)
        return calls

    return plant


def test_where_memory_runs_out_at_once_fewer_are_trained(lacking):
    calls = lacking(lambda call: call.what == "step" and call.models > 2)
    alike_alone(four())
    assert [call.models for call in calls][:2] == [4, 2]


def test_where_memory_runs_out_later_fewer_go_on_from_there(lacking):
    """No step is made twice, but for the rehearsals."""
    calls = lacking(lambda call: call.what == "step" and call.models > 2 and call.step >= 4)
    alike_alone(four())
    steps = [(call.models, call.step) for call in calls if call.what == "step"]
    assert steps == [
        *((4, step) for step in (0, 0, 1, 2, 3, 4)),
        *2 * [(2, 4), (2, 4), (2, 5)],
    ]


def test_where_memory_holds_one_it_goes_on_by_itself(lacking, tmp_path):
    for options in ({}, {"checkpoints": [tmp_path / str(place) for place in range(4)]}):
        lacking(lambda call: call.what == "step" and call.step >= 3)
        alike_alone(four(), **options)


def test_where_memory_runs_out_in_validation_fewer_examples_are_read(lacking):
    calls = lacking(lambda call: call.what == "scores" and call.examples > 2)
    alike_alone(four())
    read = [call.examples for call in calls if call.what == "scores" and call.step == 3]
    assert read[0] == 8
    assert {*read[-4:]} == {2}


def test_the_longest_examples_are_rehearsed(lacking):
    task = Mixture(tasks=(TASK, TASK.replace(seq_len=20)))
    calls = lacking(lambda call: call.what == "step" and call.models > 2)
    alike_alone(trials(model=GLA, task=task, seeds=Seeds.of(1)))
    assert calls[0].length == 20


def test_an_update_that_memory_cuts_short_is_an_error(monkeypatch):
    def run_out(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(population_module, "rehearse", lambda *_: None)
    monkeypatch.setattr(Stack, "_update", run_out)
    with pytest.warns(UserWarning, match="one model at a time: memory ran out within an update"):
        together(four())


def test_a_program_is_no_larger_than_a_gpu_s_kernels_number(monkeypatch):
    monkeypatch.setattr(program_module, "SEQUENCES_AT_ONCE", 3 * TRAIN.batch_size)
    assert program_module.most_models(TRAIN.batch_size) == 3
    assert program_module.most_models(10**6) == 1
    alike_alone(four())


@pytest.mark.parametrize(
    "changes",
    [
        {"model": GLA},
        {"model": ModelConfig(mixer=["attention", "hyena"], d_model=8, mlp="gelu")},
        {"train": TRAIN.replace(train_examples=10, steps=12), "model": GLA},
    ],
    ids=["dropout", "hybrid", "short last batch"],
)
def test_captured_steps_give_the_same_to_the_last_bit(changes, monkeypatch):
    configs = trials(**({"train": TRAIN.replace(steps=12)} | changes))
    expected = together(configs)
    captured = []

    def noted(function):
        captured.append(function)
        return capture(function)

    monkeypatch.setattr(program_module, "capture_on", lambda _: noted)
    for ours, theirs in zip(together(configs), expected, strict=True):
        for mine, other in zip(ours.history, theirs.history, strict=True):
            assert (mine.step, mine.train_loss) == (other.step, other.train_loss)
            assert mine.valid == other.valid
        for p, q in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
            assert torch.equal(p, q)
    assert captured


def test_a_graph_that_gives_other_numbers_is_not_used():
    """What the host does is no part of a graph: here it turns the sign at every call."""
    weight, calls = torch.zeros(3), itertools.count()

    def add(arguments):
        return weight.add_(arguments["x"], alpha=(-1) ** next(calls)).sum()

    step = Captured(add, lambda: [weight], capture, "the mixer")
    with pytest.warns(UserWarning, match="the mixer .*: the graph of a step gives other numbers"):
        sums = [step({"x": torch.ones(3)}).item() for _ in range(6)]
    assert sums == [3, 0, 3, 0, -3, 0], "the capture, too, turned it"


def test_a_step_is_not_lost_if_memory_runs_out_while_it_is_captured(monkeypatch):
    weight = torch.zeros(3)
    step = Captured(
        lambda arguments: weight.add_(arguments["x"]).sum(), lambda: [weight], capture, "the mixer"
    )
    copies, calls = Captured._copies, itertools.count()

    def only_once(captured):
        if next(calls):
            raise torch.OutOfMemoryError("no memory for a copy")
        return copies(captured)

    monkeypatch.setattr(Captured, "_copies", only_once)
    with pytest.warns(UserWarning, match="without CUDA graphs.*no memory for a copy"):
        assert [step({"x": torch.ones(3)}).item() for _ in range(6)] == [3, 6, 9, 12, 15, 18]


def test_what_cannot_be_captured_is_trained_as_before_and_says_so(monkeypatch):
    def refuse(function):
        raise RuntimeError("operation not permitted when stream is capturing")

    configs = four()
    monkeypatch.setattr(program_module, "capture_on", lambda _: refuse)
    with pytest.warns(UserWarning, match="gla is trained without CUDA graphs.*not permitted"):
        alike_alone(configs)
