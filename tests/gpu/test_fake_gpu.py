"""What would fail on a GPU, or make it wait, fails here: see `fake_gpu`."""

import numpy as np
import pytest
import torch
from fake_gpu import GPU, to_gpu
from planted import PLANTED, CallsAttention, Loops, SumsUpHalves
from programs import (
    NAMES,
    SHORT,
    config,
    counted,
    numbers_are_one,
    trace_mixed_precision,
    trace_population,
    trace_reading,
    trace_step,
    whole_trials,
)

from launches import complaint, read
from recollect.analysis.dynamics import Dynamics, observe
from recollect.language import losses, probe
from recollect.language.shards import Shard
from recollect.language.windows import Windows
from recollect.mixers.catalogue import MIXERS, mixer
from recollect.models.config import ModelConfig
from recollect.tasks.mqar import MQAR
from recollect.training import population
from recollect.training.config import Seeds, TrainConfig
from recollect.training.population import run_population
from recollect.training.trial import run_trial

pytestmark = pytest.mark.slow

COUNTS = read()
BATCH_AND_LOSS = ["tasks/batch.py"] * 3 + ["training/step.py"]
"""Where the step of a single model waits: for its examples, and for its loss."""


def places(waits: list[str]) -> list[str]:
    return [wait.partition("recollect/")[2].partition(":")[0] for wait in waits]


def test_every_architecture_has_a_budget():
    assert [*COUNTS] == NAMES, "count the launches: python tests/gpu/launches.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_training_step(name):
    """On one device, with no operator that a GPU lacks, in as few launches as before, and without
    waiting within."""
    trace = trace_step(counted(name))
    assert places(trace.waits) == BATCH_AND_LOSS
    assert not complaint(name, "alone", trace.launches, COUNTS[name]["alone"])


@pytest.mark.parametrize("name", NAMES)
def test_a_training_step_of_several_models(name):
    trace = trace_population(counted(name))
    assert not trace.waits
    assert not complaint(name, "population", trace.launches, COUNTS[name]["population"])


@pytest.mark.parametrize("name", ["path", "log-linear-mamba2", "log-linear-gated-delta-net"])
def test_a_longer_text_takes_as_many_launches(name):
    """With kernels; the plain forms double the length of a block again and again."""
    longer = counted(name).replace(task=MQAR(seq_len=256, num_kv_pairs=4))
    assert trace_step(longer).launches == trace_step(counted(name)).launches


@pytest.mark.parametrize("name", list(MIXERS))
def test_digits_are_kept_in_mixed_precision(name):
    assert not trace_mixed_precision(config(name, SHORT)).halves


@pytest.mark.parametrize("name", list(MIXERS))
def test_evaluation_and_decoding(name):
    assert not trace_reading(config(name, SHORT)).waits


@pytest.mark.parametrize("window", [None, 16, 2])
def test_dropout(window):
    dropping = config(mixer("attention", window=window, dropout=0.1), SHORT)
    dropping = dropping.replace(model=dropping.model.replace(dropout=0.1))
    assert places(trace_step(dropping).waits) == BATCH_AND_LOSS
    assert not trace_population(dropping).waits


@pytest.mark.parametrize("optimizer", ["sgd", "lion", "muon"])
def test_every_optimiser(optimizer):
    train = TrainConfig(batch_size=2, optimizer=optimizer)
    assert places(trace_step(config("attention", SHORT, train)).waits) == BATCH_AND_LOSS
    assert not trace_population(config("attention", SHORT, train)).waits


def trials() -> list:
    train = TrainConfig(
        steps=2, batch_size=2, eval_every=1, valid_examples=4, test_examples=4, stop_accuracy=None
    )
    one = config(["attention", "mamba2"], SHORT, train)
    return [one, one.replace(seeds=Seeds.of(7))]


def test_a_trial_from_beginning_to_end():
    (first, *_) = trials()
    with whole_trials():
        result = run_trial(first, device="cuda", observer=Dynamics(first))
    assert (result.status, result.step) == ("complete", 2)


@pytest.mark.filterwarnings("error:.*one model at a time")
def test_a_population_from_beginning_to_end():
    configs = trials()
    observers = [Dynamics(each) for each in configs]
    with whole_trials():
        results = dict(run_population(configs, device="cuda", observers=observers))
    assert [results[place].status for place in range(2)] == ["complete"] * 2


def test_a_single_trial_of_a_study_is_a_program(monkeypatch):
    """So that its steps are captured."""
    monkeypatch.setattr(population, "run_trial", None)
    one = config("attention", SHORT, TrainConfig(steps=1, batch_size=2, eval_every=1))
    with whole_trials():
        ((_, result),) = run_population([one], device="cuda")
    assert result.status == "complete"


def test_observers_losses_and_probe():
    """They wait once for a batch, or for an example, and never mix devices."""
    model = ModelConfig(mixer=["attention", "hyena"], d_model=16).build(SHORT)
    shard = Shard(np.arange(40) % 64, np.array([25, 40]))
    place, shown, turn = np.array([4, 8]), np.array([1, 2]), np.array([0, 1])
    examples = [probe.Example(np.arange(9), place, shown, turn, place - shown, [0.1, 0.1])] * 2
    seen = []
    batch = SHORT.sample(4, 0)
    with whole_trials():
        there = to_gpu(model)
        seen.append(observe(there, [batch]))
        windows = Windows(context=8, stride=4)
        losses.score(there, shard, windows, 64, GPU, seen.append)
        assert len(probe._judge("model", there, examples, GPU)) == 2
    assert seen


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(("cls", "said"), PLANTED.items(), ids=lambda value: str(value)[-30:])
def test_what_is_planted_is_found(cls, said):
    for run in (trace_step, trace_population):
        with pytest.raises(Exception, match=said):  # noqa: PT012
            for wait in run(config(cls, SHORT)).waits:
                if "planted.py" in wait:
                    raise AssertionError(wait)


def test_a_user_s_attention():
    for run in (trace_step, trace_population):
        assert not [wait for wait in run(config(CallsAttention, SHORT)).waits if "planted" in wait]


def test_a_sum_in_half_precision_is_found():
    assert "cumsum" in trace_mixed_precision(config(SumsUpHalves, SHORT)).halves[0]


def test_a_loop_over_tokens_is_found():
    few, many = (trace_population(config(mixer(Loops, every=every))).launches for every in (64, 1))
    assert not complaint("Loops", "population", few, few)
    assert "more than" in complaint("Loops", "population", many, few)
    assert "remake" in complaint("Loops", "population", few, many)


def test_reading_a_gpu_s_numbers_without_a_copy_is_found():
    with whole_trials(), numbers_are_one(), pytest.raises(TypeError, match="numpy"):
        torch.zeros(3, device=GPU).numpy()


def test_a_program_in_mixed_precision():
    half = TrainConfig(batch_size=2, dtype="bfloat16", grad_clip=1.0)
    trace = trace_population(config("gated-delta-net", SHORT, half))
    assert not trace.waits
    assert not trace.halves
