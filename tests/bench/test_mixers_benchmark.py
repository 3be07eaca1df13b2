"""Throughput and state over the length, and what is left out."""

import pytest
import torch
from torch import nn

import recollect as rc
from recollect.bench.measurement import LeftOut, Measurement
from recollect.bench.mixers import expected_seconds, measure_mixer
from recollect.bench.settings import BenchSettings
from recollect.mixers.catalogue import MIXERS
from recollect.mixers.patterns import PATTERNS
from recollect.referee.check import measure

pytestmark = pytest.mark.slow


class Stepless(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x).cumsum(1)


class Short(Stepless):
    def forward(self, x):
        if x.shape[1] > 8:
            raise ValueError("8 tokens at most\nand more lines")
        return super().forward(x)


class Hungry(Stepless):
    def forward(self, x):
        return super().forward(x) + torch.zeros(10**17)


class ReadsTokens(Stepless):
    def forward(self, x, tokens):
        return super().forward(x + tokens[..., None])

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, self.linear.out_features)

    def step(self, x_t, state, token):
        state = state + self.linear(x_t + token[:, None])
        return state, state


def results(mixer, lengths=(4, 8), **settings):
    model = rc.ModelConfig(mixer=mixer, d_model=16)
    chosen = BenchSettings(models=[model], lengths=lengths, **{"batch": 2, "repeats": 2} | settings)
    return list(measure_mixer(model, chosen))


def reasons(of_a_length):
    return {each.quantity: each.reason for each in of_a_length if isinstance(each, LeftOut)}


@pytest.mark.parametrize("mixer", [*MIXERS, *PATTERNS, ReadsTokens])
def test_every_quantity_at_every_length(mixer):
    found = results(mixer)
    assert [each[0].setting["length"] for each in found] == [4, 8]
    for of_a_length in found:
        units = {each.quantity: each.unit for each in of_a_length}
        rates = dict.fromkeys(("training", "prefill", "decoding"), "tokens/s")
        assert units == rates | {"state": "bytes"}
        for each in of_a_length:
            assert isinstance(each, Measurement)
            assert 0 < each.low <= each.median <= each.high
            assert each.setting["batch"] == 2


@pytest.mark.parametrize("mixer", ["attention", "mamba", rc.mixer("attention", qkv_conv=3)])
def test_the_state_is_that_of_the_referee(mixer):
    sizes = [each[-1].median for each in results(mixer, (1, 64), batch=3, repeats=1)]
    state = measure(mixer, d_model=16)[0].state
    assert sizes == [state.bytes[1], state.bytes[64]]


def test_without_a_step_form_there_is_no_decoding():
    for of_a_length in results(Stepless):
        assert [each.quantity for each in of_a_length] == ["training", "prefill", "decoding"]
        assert reasons(of_a_length) == {"decoding": "it has no initial_state and step"}


class Unbuildable(Stepless):
    def __init__(self, d_model):
        super().__init__(d_model)
        raise RuntimeError("no room")


def test_a_mixer_that_cannot_be_built_has_a_reason_for_each_quantity():
    for of_a_length in results(Unbuildable):
        assert set(reasons(of_a_length)) == {"training", "prefill", "decoding", "state"}
        assert all("no room" in reason for reason in reasons(of_a_length).values())


def test_a_length_at_which_a_mixer_raises():
    short, long = results(Short, (4, 16))
    assert set(reasons(short)) == {"decoding"}
    assert reasons(long)["training"] == "ValueError: 8 tokens at most"


def test_memory_that_runs_out():
    assert reasons(results(Hungry)[0])["prefill"] == "memory ran out"


def test_what_would_take_too_long():
    first, second = results("attention", limit_seconds=1e-9)
    assert "has read only 1 of 4 tokens" in reasons(first)["decoding"]
    for quantity in ("training", "prefill"):
        assert quantity not in reasons(first)  # of the first nothing is known beforehand
        assert "more than the limit of 1e-09 s" in reasons(second)[quantity]
    assert "decoding" in reasons(second)


def test_the_time_of_a_length_is_predicted_from_shorter_ones():
    assert expected_seconds({}, 8) == 0
    assert expected_seconds({4: 1.0}, 8) == pytest.approx(2)
    assert expected_seconds({2: 1.0, 4: 4.0}, 8) == pytest.approx(16)
    assert expected_seconds({1: 9.0, 2: 4.0, 4: 4.0}, 8) == pytest.approx(8)
