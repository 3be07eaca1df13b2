"""A training step, and what is counted of it."""

import pytest

import recollect as rc
from recollect.bench.measurement import Measurement
from recollect.bench.settings import BenchSettings
from recollect.bench.step import measure_step, multiply_adds, step_tasks

D, L, PAIRS, N, VOCAB = 8, 16, 2, 3, 64
TASK = rc.MQAR(seq_len=L, num_kv_pairs=PAIRS, vocab_size=VOCAB)
MODEL = rc.ModelConfig(mixer="attention", d_model=D)


def by_hand(mlp=0):
    """Two layers of attention, and the head at the supervised positions."""
    first = 4 * L * D * D + 2 * D * L * (L + 1) // 2  # a product for the score, one for the value
    # the last layer has outputs at the supervised positions alone, which see all up to them
    seen = int((TASK.sample(N, seed=0).positions + 1).sum())
    last = (3 * L + PAIRS) * D * D
    return N * (first + last + mlp * (L + PAIRS) + PAIRS * D * VOCAB) + 2 * D * seen


def test_multiply_adds_of_a_small_attention_model():
    batch = TASK.sample(N, seed=0)
    assert multiply_adds(MODEL.build(TASK), batch) == by_hand()
    with_mlp = MODEL.replace(mlp="gelu")
    assert multiply_adds(with_mlp.build(TASK), batch) == by_hand(mlp=2 * 4 * D * D)


def test_a_short_example_has_one_pair():
    settings = BenchSettings(models=[MODEL], lengths=(8, 32), device="cpu")
    assert [(task.seq_len, task.num_kv_pairs) for task in step_tasks(settings)] == [(8, 1), (32, 2)]


def test_a_step():
    peak = 1e12
    settings = BenchSettings(models=[MODEL], batch=N, repeats=3)
    found = {each.quantity: each for each in measure_step(MODEL, TASK, settings, peak)}
    for each in found.values():
        assert isinstance(each, Measurement)
        assert each.setting == {"d_model": D, "layers": 2, "length": L, "batch": N}
        assert 0 <= each.low <= each.median <= each.high
    seconds = found["step"].median / 1e3
    training = 3 * by_hand()
    assert found["multiply-adds"].median == pytest.approx(training / 1e6)
    assert found["throughput"].median == pytest.approx(N * L / seconds)
    assert found["of peak"].median == pytest.approx(100 * 2 * training / seconds / peak)
    assert found["step"].repeats == 3
    assert found["peak memory"].unit == "MB"
